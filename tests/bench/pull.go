package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// benchPull fetches 500 MB in four layers of files that compress by about a half.
func benchPull(h *host, r *report) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	ref := l.Addr().String() + "/bench/big:1"
	if err := h.pushBig(ref); err != nil {
		return err
	}
	root := h.dir + "/podman"
	podman := func(args ...string) error {
		cmd := exec.Command("podman", append([]string{"--root", root, "--runroot", root + "-run", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"}, args...)...)
		text, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("podman %v: %w: %s", args, err, text)
		}
		return nil
	}
	var ours, peer series
	for range 3 {
		err := errors.Join(
			ours.timed(func() error { return write(cc+"image/ctl", "pull "+ref+" wait=10m") }),
			peer.timed(func() error { return podman("pull", "-q", "--tls-verify=false", ref) }),
			write(cc+"image/ctl", "rm "+ref), write(cc+"image/ctl", "gc wait=10m"),
			podman("rmi", "-f", ref))
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	r.times("pull of 500 MB in 4 layers from loopback", ours.p50(), "podman pull", peer.p50(), 0.7)
	return nil
}

func (h *host) pushBig(ref string) error {
	img := empty.Image
	for k := range 4 {
		dir := fmt.Sprintf("%s/layer%d", h.dir, k)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := fill(dir, uint64(k), 125<<20); err != nil {
			return err
		}
		tar := dir + ".tar.gz"
		if err := run("tar", "-C", dir, "-I", "gzip -1", "-cf", tar, "."); err != nil {
			return err
		}
		layer, err := tarball.LayerFromFile(tar)
		if err != nil {
			return err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return err
		}
	}
	tag, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	return remote.Write(tag, img)
}

// fill writes files of 1 to 256 KB, half random and half repeated bytes, as programs and libraries roughly are.
func fill(dir string, seed uint64, bytes int) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for k := 0; bytes > 0; k++ {
		text := make([]byte, 1<<10+rnd.IntN(255<<10))
		for i := 0; i < len(text)/2; i++ {
			text[i] = byte(rnd.Uint32())
		}
		sub := fmt.Sprintf("%s/d%d", dir, k%50)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(fmt.Sprintf("%s/f%d", sub, k), text, 0o644); err != nil {
			return err
		}
		bytes -= len(text)
	}
	return nil
}
