// Package words is the grammar of one line in /cc (TREE.md, rules 9 and 11): quoting, messages, and the
// one spelling of sizes, durations and switches.
package words
