// Package keeper starts and talks to cc-keeper, the small process that is the parent of all containers and
// outlives the daemon.
package keeper
