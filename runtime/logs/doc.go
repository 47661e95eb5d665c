// Package logs reads the logs of containers, and makes the pipes they are written through. The writing half is
// package drain, which runs in cc-keeper; the layout of the files stands there.
package logs
