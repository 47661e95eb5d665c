package vpc_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/net/vpc"
)

// report prints percentiles in microseconds.
func report(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100].Nanoseconds())/1000, fmt.Sprintf("%s-p%d-us", what, p))
	}
}

// BenchmarkAttach attaches and releases with many others there. The namespaces are made before and closed after.
func BenchmarkAttach(b *testing.B) {
	for _, x := range []struct{ others, workers int }{{0, 1}, {500, 1}, {0, 8}} {
		b.Run(fmt.Sprintf("others=%d/workers=%d", x.others, x.workers), func(b *testing.B) {
			c := start(b, "bench")
			c.vpc(b, "foo", "10.0.0.0/12")
			nss := make([]*os.File, x.others+b.N)
			for i := range nss {
				f, err := linktest.Make()
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				nss[i] = f
			}
			attach := make([]time.Duration, b.N)
			release := make([]time.Duration, b.N)
			list := make([]*vpc.Attachment, len(nss))
			one := func(i int) (took time.Duration) {
				start := time.Now()
				a, err := c.Attach(context.Background(), "foo", nss[i], vpc.AttachOptions{})
				took = time.Since(start)
				if err != nil {
					b.Error(err)
				}
				list[i] = a
				return took
			}
			for i := range x.others {
				one(b.N + i)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range x.workers {
				wg.Go(func() {
					for i := w; i < b.N; i += x.workers {
						attach[i] = one(i)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			for i := range b.N {
				start := time.Now()
				if err := c.Release(context.Background(), list[i]); err != nil {
					b.Error(err)
				}
				release[i] = time.Since(start)
			}
			report(b, "attach", attach)
			report(b, "release", release)
		})
	}
}

// BenchmarkRestart opens with 1,000 attachments there.
func BenchmarkRestart(b *testing.B) {
	c := start(b, "bench")
	c.vpc(b, "foo", "10.0.0.0/12")
	var held []vpc.Held
	for i := range 1000 {
		f, err := linktest.Make()
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		a, err := c.Attach(context.Background(), "foo", f, vpc.AttachOptions{Owner: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		held = append(held, vpc.Held{Attachment: *a, Name: fmt.Sprint(i)})
	}
	for b.Loop() {
		b.StopTimer()
		c.close(b)
		b.StartTimer()
		c.open(b)
		if err := c.Restore(context.Background(), held); err != nil {
			b.Fatal(err)
		}
	}
}
