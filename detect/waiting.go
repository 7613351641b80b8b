package detect

import "cmp"

// waitingLink is a link that is not counted yet.
type waitingLink struct {
	time, sent int64
	source     int32
	index      uint32
	offset     int64
	data       []byte
}

// compare orders links by event time, source and position.
func (a *waitingLink) compare(b *waitingLink) int {
	if a.time != b.time {
		return cmp.Compare(a.time, b.time)
	}
	return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.offset, b.offset), cmp.Compare(a.index, b.index))
}

// waiting is the links that wait, in their order. What a source says is nearly in order already: it makes few runs, each in
// order, and what a heap has to compare is the runs' first links.
type waiting struct {
	n    int
	runs []*run         // a heap
	last map[int32]*run // by source, the one that its next link goes to if it comes in order
}

// run is links of one source in their order.
type run struct {
	links []waitingLink
	taken int // of links
}

func (r *run) first() *waitingLink { return &r.links[r.taken] }

func (r *run) before(o *run) bool { return r.first().compare(o.first()) < 0 }

// add puts a link behind the others, where those that were taken make room.
func (r *run) add(x waitingLink) {
	if len(r.links) == cap(r.links) && 2*r.taken >= len(r.links) {
		n := copy(r.links, r.links[r.taken:])
		clear(r.links[n:])
		r.links, r.taken = r.links[:n], 0
	}
	r.links = append(r.links, x)
}

func (w *waiting) push(x waitingLink) {
	w.n++
	r := w.last[x.source]
	if r != nil && r.taken < len(r.links) {
		if r.links[len(r.links)-1].compare(&x) <= 0 {
			r.add(x)
			return
		}
		r = nil
	}
	if r == nil {
		if w.last == nil {
			w.last = map[int32]*run{}
		}
		r = &run{}
		w.last[x.source] = r
	}
	r.add(x)
	w.runs = append(w.runs, r)
	h, i := w.runs, len(w.runs)-1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// first is the first link of some.
func (w *waiting) first() *waitingLink { return w.runs[0].first() }

// pop takes the first link of some.
func (w *waiting) pop() waitingLink {
	w.n--
	h := w.runs
	r := h[0]
	x := *r.first()
	*r.first() = waitingLink{}
	if r.taken++; r.taken == len(r.links) {
		r.links, r.taken = r.links[:0], 0
		n := len(h) - 1
		h[0], h[n] = h[n], nil
		h = h[:n]
		w.runs = h
	}
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			return x
		}
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(h[i]) {
			return x
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}

// all yields what waits, in no order.
func (w *waiting) all(yield func(*waitingLink) bool) {
	for _, r := range w.runs {
		for i := r.taken; i < len(r.links); i++ {
			if !yield(&r.links[i]) {
				return
			}
		}
	}
}
