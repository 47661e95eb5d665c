package words

// Nearest returns the candidate that name is most likely a slip of: at most one edit away, two for names of
// more than five letters, where swapping two neighbours is one edit. Empty when there is none.
func Nearest(name string, candidates []string) string {
	limit := 1
	if len(name) > 5 {
		limit = 2
	}
	best, found := limit+1, ""
	for _, c := range candidates {
		if d := distance(name, c, limit); d < best {
			best, found = d, c
		}
	}
	return found
}

// distance is the optimal string alignment distance of a and b, or more than limit when it is over it.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 64 {
		return limit + 1
	}
	var rows [3][66]int
	before, last, this := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			this[j] = min(last[j]+1, this[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		before, last, this = last, this, before
	}
	return last[len(b)]
}
