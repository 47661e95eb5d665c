package nft

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/containercloud/cc/fault"
)

// chunk is how many elements one message carries: an attribute ends at 64 KiB.
const chunk = 500

// apply removes and adds elements in one transaction. Elements in both are left alone.
func (t *Table) apply(gone, come []change) error {
	gone, come = subtract(gone, come), subtract(come, gone)
	for _, c := range gone {
		if err := t.conn.SetDeleteElements(c.set, c.list); err != nil {
			return err
		}
	}
	for _, c := range come {
		if err := t.addElements(c); err != nil {
			return err
		}
	}
	return t.conn.Flush()
}

func (t *Table) addElements(c change) error {
	for part := range slices.Chunk(c.list, chunk) {
		if err := t.conn.SetAddElements(c.set, part); err != nil {
			return err
		}
	}
	return nil
}

// subtract is a without b.
func subtract(a, b []change) (left []change) {
	for _, c := range a {
		for _, d := range b {
			if d.set == c.set {
				c.list = slices.DeleteFunc(slices.Clone(c.list), func(e nftables.SetElement) bool {
					return slices.ContainsFunc(d.list, func(f nftables.SetElement) bool { return same(e, f) })
				})
			}
		}
		if len(c.list) > 0 {
			left = append(left, c)
		}
	}
	return left
}

func same(a, b nftables.SetElement) bool {
	return a.IntervalEnd == b.IntervalEnd && bytes.Equal(a.Key, b.Key)
}

// desired are the elements that all sets must have.
func (t *Table) desired() map[*nftables.Set][]nftables.SetElement {
	all := map[*nftables.Set][]nftables.SetElement{}
	for _, s := range t.rules.sets() {
		all[s] = nil
	}
	collect := func(list []change) {
		for _, c := range list {
			all[c.set] = append(all[c.set], c.list...)
		}
	}
	for _, n := range t.networks {
		collect(t.rules.networkElements(n))
	}
	for _, p := range t.ports {
		collect(t.rules.portElements(p))
	}
	return all
}

func (r *ruleset) sets() []*nftables.Set {
	return []*nftables.Set{r.same, r.nets, r.nat, r.isolated, r.senders, r.isolatedFrames}
}

// repairLocked makes the kernel right if it is not.
func (t *Table) repairLocked() (repaired bool, err error) {
	tables, err := t.tables()
	if err != nil {
		return false, fault.Wrap(err, "cannot list packet rules")
	}
	if len(t.networks) == 0 {
		if len(tables) == 0 {
			t.live = false
			return false, nil
		}
		return true, t.removeLocked()
	}
	if len(tables) == 2 {
		if why := t.differs(); why == "" {
			t.live = true
			return false, nil
		} else {
			t.log.Info("packet rules are replaced", "table", t.rules.inet.Name, "because", why)
		}
	}
	return true, t.rebuildLocked()
}

// tables lists those of our name.
func (t *Table) tables() (mine []*nftables.Table, err error) {
	all, err := t.conn.ListTables()
	for _, x := range all {
		if x.Name == t.rules.inet.Name && (x.Family == t.rules.inet.Family || x.Family == t.rules.bridge.Family) {
			mine = append(mine, x)
		}
	}
	return mine, err
}

func (t *Table) removeLocked() error {
	tables, err := t.tables()
	if err != nil {
		return fault.Wrap(err, "cannot list packet rules")
	}
	for _, x := range tables {
		t.conn.DelTable(x)
	}
	if err := t.conn.Flush(); err != nil && !isGone(err) {
		return fault.Wrap(err, "cannot remove packet rules")
	}
	t.live = false
	return nil
}

// rebuildLocked replaces both tables in one transaction.
func (t *Table) rebuildLocked() error {
	for _, x := range []*nftables.Table{t.rules.inet, t.rules.bridge} {
		t.conn.AddTable(x) // so that the deletion finds one
		t.conn.DelTable(x)
		t.conn.AddTable(x)
	}
	elements := t.desired()
	for _, s := range t.rules.sets() {
		if err := t.conn.AddSet(s, nil); err != nil {
			return err
		}
		if err := t.addElements(change{s, elements[s]}); err != nil {
			return err
		}
	}
	t.addChains(t.rules.inet, t.rules.inetChains)
	t.addChains(t.rules.bridge, t.rules.bridgeChains)
	if err := t.conn.Flush(); err != nil {
		return fault.Wrap(err, "cannot set packet rules")
	}
	t.live = true
	return nil
}

// addChains adds all chains before any rule: rules jump forward.
func (t *Table) addChains(table *nftables.Table, chains []chain) {
	for _, c := range chains {
		t.conn.AddChain(c.kernel(table))
	}
	for _, c := range chains {
		for _, r := range c.rules {
			t.conn.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: c.name, Table: table}, Exprs: r.exprs()})
		}
	}
}

func (c chain) kernel(t *nftables.Table) *nftables.Chain {
	k := &nftables.Chain{Name: c.name, Table: t}
	if c.hook != "" {
		policy := nftables.ChainPolicyAccept
		k.Hooknum, k.Priority, k.Type, k.Policy = c.num, &c.priority, c.typ, &policy
	}
	return k
}

// differs says what in the kernel is not as it must be, or "".
func (t *Table) differs() string {
	for _, x := range []struct {
		table  *nftables.Table
		chains []chain
	}{{t.rules.inet, t.rules.inetChains}, {t.rules.bridge, t.rules.bridgeChains}} {
		if why := t.chainsDiffer(x.table, x.chains); why != "" {
			return why
		}
	}
	want := t.desired()
	for _, s := range t.rules.sets() {
		have, err := t.elements(s)
		if err != nil {
			return fmt.Sprintf("set %s: %v", s.Name, err)
		}
		if !equalElements(have, want[s]) {
			return fmt.Sprintf("set %s has %d elements that are not the %d wanted", s.Name, len(have), len(want[s]))
		}
	}
	return ""
}

func (t *Table) elements(s *nftables.Set) ([]nftables.SetElement, error) {
	if _, err := t.conn.GetSetByName(s.Table, s.Name); err != nil {
		return nil, err // a listing of a set that is not there is empty
	}
	return t.conn.GetSetElements(s)
}

func equalElements(a, b []nftables.SetElement) bool {
	if len(a) != len(b) {
		return false
	}
	key := func(e nftables.SetElement) string { return fmt.Sprintf("%x %v", e.Key, e.IntervalEnd) }
	count := make(map[string]int, len(a))
	for _, e := range a {
		count[key(e)]++
	}
	for _, e := range b {
		if count[key(e)]--; count[key(e)] < 0 {
			return false
		}
	}
	return true
}

func (t *Table) chainsDiffer(table *nftables.Table, want []chain) string {
	all, err := t.conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return err.Error()
	}
	have := map[string]*nftables.Chain{}
	for _, c := range all {
		if c.Table.Name == table.Name {
			have[c.Name] = c
		}
	}
	if len(have) != len(want) {
		return fmt.Sprintf("it has %d chains, not %d", len(have), len(want))
	}
	for _, c := range want {
		if h, k := have[c.name], c.kernel(table); h == nil || !sameHook(h, k) {
			return "chain " + c.name + " is missing or another"
		}
		rules, err := t.conn.GetRules(table, &nftables.Chain{Name: c.name})
		if err != nil {
			return err.Error()
		}
		if len(rules) != len(c.rules) {
			return fmt.Sprintf("chain %s has %d rules, not %d", c.name, len(rules), len(c.rules))
		}
		for i, r := range rules {
			if !sameExprs(r.Exprs, c.rules[i].exprs()) {
				return fmt.Sprintf("chain %s, rule %d is not: %s", c.name, i+1, c.rules[i])
			}
		}
	}
	return ""
}

func sameHook(a, b *nftables.Chain) bool {
	if a.Hooknum == nil || b.Hooknum == nil {
		return a.Hooknum == nil && b.Hooknum == nil
	}
	return *a.Hooknum == *b.Hooknum && *a.Priority == *b.Priority && a.Type == b.Type && a.Policy != nil && *a.Policy == *b.Policy
}

// sameExprs compares what the kernel shows with what it was given. Set numbers are those of one transaction.
func sameExprs(a, b []expr.Any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !reflect.DeepEqual(canonical(a[i]), canonical(b[i])) {
			return false
		}
	}
	return true
}

func canonical(e expr.Any) expr.Any {
	if l, ok := e.(*expr.Lookup); ok {
		c := *l
		c.SetID = 0
		return &c
	}
	return e
}
