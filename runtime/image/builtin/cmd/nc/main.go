// Nc connects standard input and output to a TCP or UDP port:
// nc [-u] [-w SECONDS] HOST PORT, nc -l [-k] [-u] [-p PORT] [HOST] [PORT], nc -z HOST PORT.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

var (
	listen = flag.Bool("l", false, "listen")
	keep   = flag.Bool("k", false, "take more connections after the first")
	udp    = flag.Bool("u", false, "UDP")
	probe  = flag.Bool("z", false, "only see whether the port is open")
	port   = flag.String("p", "", "port to listen on")
	wait   = flag.Int("w", 0, "seconds to wait for a connection")
)

func main() {
	flag.Parse()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "nc:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	network := "tcp"
	if *udp {
		network = "udp"
	}
	if *listen {
		addr := ":" + *port
		switch {
		case len(args) == 2:
			addr = net.JoinHostPort(args[0], args[1])
		case len(args) == 1 && *port == "":
			addr = ":" + args[0]
		}
		if *udp {
			return datagrams(addr)
		}
		return serve(addr)
	}
	if len(args) != 2 {
		return fmt.Errorf("usage: nc [-luzk] [-w SECONDS] [-p PORT] HOST PORT")
	}
	c, err := net.DialTimeout(network, net.JoinHostPort(args[0], args[1]), time.Duration(*wait)*time.Second)
	if err != nil || *probe {
		return err
	}
	return join(c)
}

func serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		if err := join(c); !*keep {
			return err
		}
	}
}

func datagrams(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		os.Stdout.Write(buf[:n])
	}
}

// join copies both ways until the other side has said everything.
func join(c net.Conn) error {
	defer c.Close()
	go func() {
		io.Copy(c, os.Stdin)
		if t, ok := c.(*net.TCPConn); ok {
			t.CloseWrite()
		}
	}()
	_, err := io.Copy(os.Stdout, c)
	return err
}
