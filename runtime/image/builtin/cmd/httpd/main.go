// Httpd serves a directory: httpd [-f] [-p [ADDR:]PORT] [-h DIR]. It always stays in the foreground.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	flag.Bool("f", true, "stay in the foreground, as always")
	port := flag.String("p", "80", "[address:]port")
	dir := flag.String("h", ".", "directory")
	flag.Parse()
	addr := *port
	if !strings.Contains(addr, ":") {
		addr = ":" + addr
	}
	if err := http.ListenAndServe(addr, http.FileServer(http.Dir(*dir))); err != nil {
		fmt.Fprintln(os.Stderr, "httpd:", err)
		os.Exit(1)
	}
}
