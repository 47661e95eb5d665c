// Wget fetches a URL: wget [-q] [-O FILE|-] [-T SECONDS] URL.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

func main() {
	quiet := flag.Bool("q", false, "say nothing")
	to := flag.String("O", "", "file to write, - for standard output")
	wait := flag.Int("T", 0, "seconds until giving up")
	fl := os.Args[1:]
	if len(fl) > 0 && strings.HasPrefix(fl[0], "-qO") { // as everybody types it
		fl = append([]string{"-q", "-O", strings.TrimPrefix(fl[0], "-qO")}, fl[1:]...)
		if fl[2] == "" {
			fl = append(fl[:2], fl[3:]...)
		}
	}
	flag.CommandLine.Parse(fl)
	if flag.NArg() != 1 {
		fail("usage: wget [-q] [-O FILE] [-T SECONDS] URL")
	}
	url := flag.Arg(0)
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	c := http.Client{Timeout: time.Duration(*wait) * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		fail("wget: " + err.Error())
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		fail("wget: server returned " + resp.Status)
	}
	out, name := os.Stdout, *to
	if name == "" {
		name = path.Base(resp.Request.URL.Path)
		if name == "/" || name == "." {
			name = "index.html"
		}
	}
	if name != "-" {
		if out, err = os.Create(name); err != nil {
			fail("wget: " + err.Error())
		}
	}
	n, err := io.Copy(out, resp.Body)
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		fail("wget: " + err.Error())
	}
	if !*quiet && name != "-" {
		fmt.Fprintf(os.Stderr, "%s: %d bytes\n", name, n)
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
