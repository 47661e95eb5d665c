// Package storetest is the suite that every back end of store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/store"
)

// patience is how long a test waits for what must come; nothing is asserted about how fast it is.
const patience = 20 * time.Second

var tests = []struct {
	name string
	run  func(*testing.T, store.Store)
}{
	{"GetPutDelete", getPutDelete},
	{"ListIsSortedAndByPrefix", list},
	{"CompareAndSet", compareAndSet},
	{"TxnIsAllOrNothing", allOrNothing},
	{"TxnRefusesBadInput", badInput},
	{"CounterUnderContention", counter},
	{"WatchIsGaplessAndInOrder", watchGapless},
	{"WatchContinuesAList", watchContinuesList},
	{"WatchEndsWithItsContext", watchEnds},
	{"ManyWatches", manyWatches},
	{"LeaseEnd", leaseEnd},
	{"LeaseExpires", leaseExpires},
	{"CancelledContext", cancelled},
	{"ValuesAreCopies", copies},
}

// Run runs the suite; open gives each test an empty store of its own and cleans up with t.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func put(t *testing.T, s store.Store, key, value string) int64 {
	t.Helper()
	rev, err := s.Txn(t.Context(), nil, []store.Op{store.Put(key, []byte(value))})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return rev
}

func want(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Errorf("error %v, want kind %v", err, k)
	}
}

func getPutDelete(t *testing.T, s store.Store) {
	_, err := s.Get(t.Context(), "a")
	want(t, err, fault.NotFound)
	r1 := put(t, s, "a", "1")
	r2 := put(t, s, "a", "")
	if r2 <= r1 {
		t.Errorf("revisions %d then %d", r1, r2)
	}
	got, err := s.Get(t.Context(), "a")
	if err != nil || string(got.Value) != "" || got.Rev != r2 || got.Key != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := s.Txn(t.Context(), nil, []store.Op{store.Delete("a")}); err != nil {
		t.Error(err)
	}
	_, err = s.Get(t.Context(), "a")
	want(t, err, fault.NotFound)
	if _, err := s.Txn(t.Context(), nil, []store.Op{store.Delete("a")}); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

func list(t *testing.T, s store.Store) {
	for _, k := range []string{"vpc/b", "vpc/a", "vpcx", "volume/a", "vpc/"} {
		put(t, s, k, k)
	}
	items, rev, err := s.List(t.Context(), "vpc/")
	var keys []string
	for _, i := range items {
		keys = append(keys, i.Key)
	}
	if err != nil || strings.Join(keys, " ") != "vpc/ vpc/a vpc/b" {
		t.Errorf("%q, %v", keys, err)
	}
	if last := put(t, s, "z", ""); last <= rev {
		t.Errorf("list at revision %d, later change at %d", rev, last)
	}
	if items, _, err := s.List(t.Context(), "none/"); err != nil || len(items) != 0 {
		t.Errorf("%v, %v", items, err)
	}
	if items, _, _ := s.List(t.Context(), ""); len(items) != 6 {
		t.Errorf("%d keys in all", len(items))
	}
}

func compareAndSet(t *testing.T, s store.Store) {
	create := func() (int64, error) {
		return s.Txn(t.Context(), []store.Compare{{Key: "a"}}, []store.Op{store.Put("a", []byte("x"))})
	}
	rev, err := create()
	if err != nil {
		t.Fatal(err)
	}
	_, err = create()
	want(t, err, fault.Stale)
	if _, err := s.Txn(t.Context(), []store.Compare{{Key: "a", Rev: rev}}, []store.Op{store.Put("a", []byte("y"))}); err != nil {
		t.Error(err)
	}
	_, err = s.Txn(t.Context(), []store.Compare{{Key: "a", Rev: rev}}, []store.Op{store.Delete("a")})
	want(t, err, fault.Stale)
}

func allOrNothing(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	_, err := s.Txn(t.Context(), []store.Compare{{Key: "b"}, {Key: "a"}}, []store.Op{store.Put("b", nil), store.Delete("a")})
	want(t, err, fault.Stale)
	if items, _, _ := s.List(t.Context(), ""); len(items) != 1 || items[0].Key != "a" {
		t.Errorf("%v after a refused transaction", items)
	}
	rev, err := s.Txn(t.Context(), nil, []store.Op{store.Put("b", nil), store.Put("c", nil), store.Delete("a")})
	if err != nil {
		t.Fatal(err)
	}
	items, now, _ := s.List(t.Context(), "")
	if len(items) != 2 || items[0].Rev != rev || items[1].Rev != rev || now != rev {
		t.Errorf("%v at %d, transaction at %d", items, now, rev)
	}
}

func badInput(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.Txn(ctx, nil, []store.Op{store.Put("", nil)})
	want(t, err, fault.Invalid)
	_, err = s.Txn(ctx, nil, []store.Op{store.Put(strings.Repeat("k", store.MaxKey+1), nil)})
	want(t, err, fault.Invalid)
	_, err = s.Txn(ctx, nil, []store.Op{store.Put("a", nil), store.Delete("a")})
	want(t, err, fault.Invalid)
	_, err = s.Txn(ctx, nil, []store.Op{store.Put("a", make([]byte, store.MaxValue+1))})
	want(t, err, fault.TooLong)
	_, err = s.Txn(ctx, nil, make([]store.Op, store.MaxOps+1))
	want(t, err, fault.Range)
	_, err = s.Txn(ctx, nil, []store.Op{{Key: "a", Lease: 12345}})
	want(t, err, fault.NotFound)
	_, err = s.Lease(ctx, 0)
	want(t, err, fault.Range)
	if items, _, _ := s.List(ctx, ""); len(items) != 0 {
		t.Errorf("%v", items)
	}
}

// counter is the test of isolation: no increment may be lost, none done twice.
func counter(t *testing.T, s store.Store) {
	put(t, s, "n", "")
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				i, err := s.Get(t.Context(), "n")
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.Txn(t.Context(), []store.Compare{{Key: "n", Rev: i.Rev}}, []store.Op{store.Put("n", append(i.Value, 'x'))})
				if err == nil {
					done++
				} else if !fault.Is(err, fault.Stale) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if i, _ := s.Get(t.Context(), "n"); len(i.Value) != writers*each {
		t.Errorf("%d of %d increments", len(i.Value), writers*each)
	}
}

func next(t *testing.T, ch <-chan store.Event) store.Event {
	t.Helper()
	select {
	case e, ok := <-ch:
		if !ok {
			t.Fatal("watch closed")
		}
		return e
	case <-time.After(patience):
		t.Fatal("no event")
	}
	return store.Event{}
}

func watchGapless(t *testing.T, s store.Store) {
	start := put(t, s, "other", "")
	put(t, s, "w/old", "1")
	ch, err := s.Watch(t.Context(), "w/", start)
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, ch); e.Key != "w/old" || e.Deleted || string(e.Value) != "1" {
		t.Errorf("%+v", e)
	}
	const n = 200
	go func() {
		for i := range n {
			_, err := s.Txn(context.Background(), nil, []store.Op{
				store.Put(fmt.Sprintf("w/%d", i), nil), store.Put(fmt.Sprintf("x/%d", i), nil)})
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Txn(context.Background(), nil, []store.Op{store.Delete("w/old")}); err != nil {
			t.Error(err)
		}
	}()
	last := start
	for i := range n {
		e := next(t, ch)
		if e.Key != fmt.Sprintf("w/%d", i) || e.Rev <= last {
			t.Fatalf("event %d is %+v after revision %d", i, e, last)
		}
		last = e.Rev
	}
	if e := next(t, ch); !e.Deleted || e.Key != "w/old" || e.Value != nil {
		t.Errorf("%+v", e)
	}
}

// watchContinuesList checks that a copy made by List and kept by Watch equals the store, while others write.
func watchContinuesList(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				op := store.Put(fmt.Sprintf("k/%d", i%10), fmt.Appendf(nil, "%d.%d", w, i))
				if i%7 == 3 {
					op = store.Delete(op.Key)
				}
				if _, err := s.Txn(context.Background(), nil, []store.Op{op}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	items, rev, err := s.List(t.Context(), "k/")
	if err != nil {
		t.Fatal(err)
	}
	ch, err := s.Watch(t.Context(), "", rev)
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	put(t, s, "end", "")
	mirror := map[string]string{}
	for _, i := range items {
		mirror[i.Key] = string(i.Value)
	}
	for e := next(t, ch); e.Key != "end"; e = next(t, ch) {
		if mirror[e.Key] = string(e.Value); e.Deleted {
			delete(mirror, e.Key)
		}
	}
	items, _, _ = s.List(t.Context(), "k/")
	var have, should []string
	for _, i := range items {
		should = append(should, i.Key+"="+string(i.Value))
	}
	for k, v := range mirror {
		have = append(have, k+"="+v)
	}
	sort.Strings(have)
	if strings.Join(have, " ") != strings.Join(should, " ") {
		t.Errorf("mirror %v\nstore  %v", have, should)
	}
}

func watchEnds(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := s.Watch(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case _, ok := <-ch:
		if ok {
			t.Error("an event from nothing")
		}
	case <-time.After(patience):
		t.Error("the watch did not end")
	}
}

func manyWatches(t *testing.T, s store.Store) {
	rev := put(t, s, "a", "")
	var chs []<-chan store.Event
	for range 50 {
		ch, err := s.Watch(t.Context(), "b", rev)
		if err != nil {
			t.Fatal(err)
		}
		chs = append(chs, ch)
	}
	for range 30 { // more than a channel holds: a reader that sleeps must not stop the writer
		put(t, s, "b", "x")
	}
	for _, ch := range chs {
		for range 30 {
			next(t, ch)
		}
	}
}

func leaseEnd(t *testing.T, s store.Store) {
	l, err := s.Lease(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Txn(t.Context(), nil, []store.Op{{Key: "l/1", Lease: l.ID()}, {Key: "l/2", Lease: l.ID()}, {Key: "l/free"}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "l/2", "free now") // a put without the lease lets go of it
	ch, err := s.Watch(t.Context(), "l/", rev+1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(l.End(t.Context()), l.End(t.Context())); err != nil {
		t.Error(err)
	}
	if e := next(t, ch); e.Key != "l/1" || !e.Deleted {
		t.Errorf("%+v", e)
	}
	if items, _, _ := s.List(t.Context(), "l/"); len(items) != 2 {
		t.Errorf("left: %v", items)
	}
	want(t, l.Renew(t.Context()), fault.NotFound)
}

func leaseExpires(t *testing.T, s store.Store) {
	l, err := s.Lease(t.Context(), time.Second) // etcd's shortest
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Txn(t.Context(), nil, []store.Op{{Key: "l", Lease: l.ID()}})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := s.Watch(t.Context(), "l", rev)
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, ch); !e.Deleted {
		t.Errorf("%+v", e)
	}
}

func cancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, e1 := s.Get(ctx, "a")
	_, _, e2 := s.List(ctx, "")
	_, e3 := s.Txn(ctx, nil, []store.Op{store.Put("a", nil)})
	_, e4 := s.Watch(ctx, "", 0)
	for _, err := range []error{e1, e2, e3, e4} {
		want(t, err, fault.Interrupted)
	}
	if items, _, _ := s.List(t.Context(), ""); len(items) != 0 {
		t.Errorf("%v", items)
	}
}

func copies(t *testing.T, s store.Store) {
	v := []byte("abc")
	if _, err := s.Txn(t.Context(), nil, []store.Op{store.Put("a", v)}); err != nil {
		t.Fatal(err)
	}
	v[0] = 'X'
	got, _ := s.Get(t.Context(), "a")
	got.Value[1] = 'X'
	if again, _ := s.Get(t.Context(), "a"); string(again.Value) != "abc" {
		t.Errorf("%q", again.Value)
	}
}
