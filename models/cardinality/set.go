package cardinality

// A set begins exact: a sorted array of 16-bit fingerprints. When that is full the same bytes become a
// HyperLogLog of 4-bit registers (Flajolet et al. 2007) read by the martingale estimator (Ting, "Streamed
// approximate counting of distinct elements", KDD 2014; Cohen's HIP): whenever a value changes a register, 1/q is
// added to the estimate, q being the probability that a value not seen before would. It is unbiased from the first
// to the last value, costs nothing to read, and remains unbiased with short registers, because a register that is
// full simply leaves q. There is no merge: the estimate belongs to one stream.
//
//	264 bytes, exact to 128, then ± 3.7 % (512 registers)
//
// (one standard deviation; "exact" but for fingerprints that collide, under 0.13 of a value in all). It
// holds to some millions of values, after which the estimate saturates.

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/astray-dev/astray/models/tail"
)

// Set counts distinct values in 264 bytes. The zero value is an empty set.
type Set struct {
	head  head
	cells [256]byte
}

// head is what stands before the cells. While open is 0 the cells hold count sorted fingerprints, then
// registers; open is one more than m·2^15 times the probability q that a new value changes a register, m being
// their number.
type head struct {
	count float32
	open  uint32
}

// Add takes a value's hash and says whether the value is new, as far as the set can tell: surely when exact, with
// probability q for a new value (never for an old one) when it is a sketch.
func (s *Set) Add(hash uint64) bool { return s.head.add(s.cells[:], hash) }

// Estimate is the number of distinct values added.
func (s *Set) Estimate() float64 { return float64(s.head.count) }

// Exact says whether the set still holds every value.
func (s *Set) Exact() bool { return s.head.open == 0 }

const full = 15 // the highest rank of a register

func (h *head) add(cells []byte, hash uint64) bool {
	if h.open != 0 {
		return h.touch(cells, hash)
	}
	f, n := uint16(hash>>48), int(h.count)
	lo, hi := 0, n
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if binary.LittleEndian.Uint16(cells[2*mid:]) < f {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < n && binary.LittleEndian.Uint16(cells[2*lo:]) == f {
		return false
	}
	if 2*n < len(cells) {
		copy(cells[2*lo+2:2*n+2], cells[2*lo:2*n])
		binary.LittleEndian.PutUint16(cells[2*lo:], f)
		h.count++
		return true
	}
	// Full: the fingerprints become registers. Their low 48 bits are gone, which blurs the few of high rank.
	var old [256]byte
	copy(old[:], cells)
	clear(cells)
	h.open = uint32(len(cells))*2<<full + 1
	count := h.count
	for i := range n {
		h.touch(cells, uint64(binary.LittleEndian.Uint16(old[2*i:]))<<48|1<<47)
	}
	h.count = count + 1 // the new value is certainly new: exact once more
	before := h.count
	h.touch(cells, hash)
	h.count = before
	return true
}

// touch adds a value to the registers. The first bits of its hash choose the register, the number of zeros that
// follow, plus one, is its rank.
func (h *head) touch(cells []byte, hash uint64) bool {
	index := bits.TrailingZeros(uint(len(cells))) + 1 // two registers a byte
	register := hash >> (64 - index)
	rank := uint32(min(bits.LeadingZeros64(hash<<index)+1, full))
	shift := 4 * (register & 1)
	cell := &cells[register/2]
	old := uint32(*cell>>shift) & 15
	if rank <= old {
		return false
	}
	registers := float64(2 * len(cells))
	h.count += float32(registers * (1 << full) / float64(h.open-1))
	h.open -= weight(old) - weight(rank)
	*cell = *cell&^(15<<shift) | byte(rank<<shift)
	return true
}

// weight is 2^15 times the probability that a new value raises a register of that rank.
func weight(rank uint32) uint32 {
	if rank >= full {
		return 0
	}
	return 1 << (full - rank)
}

// Append adds a snapshot to b: 8 bytes and the cells in use.
func (s *Set) Append(b []byte) []byte { return s.head.append(b, s.cells[:]) }

// Decode reads what Append wrote and returns the rest of b.
func (s *Set) Decode(b []byte) ([]byte, error) { return s.head.decode(b, s.cells[:]) }

func (h *head) used(cells []byte) int {
	if h.open != 0 {
		return len(cells)
	}
	return 2 * int(h.count)
}

func (h *head) append(b, cells []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(h.count))
	b = binary.LittleEndian.AppendUint32(b, h.open)
	return append(b, cells[:h.used(cells)]...)
}

func (h *head) decode(b, cells []byte) ([]byte, error) {
	if len(b) < 8 {
		return b, fmt.Errorf("cardinality: %d bytes, no head", len(b))
	}
	d := head{math.Float32frombits(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])}
	if !(d.count >= 0) || d.open == 0 && (d.count > float32(len(cells)/2) || d.count > float32(int(d.count))) {
		return b, fmt.Errorf("cardinality: a set of %v values", d.count)
	}
	n := d.used(cells)
	if len(b) < 8+n {
		return b, fmt.Errorf("cardinality: %d bytes of %d", len(b), 8+n)
	}
	if d.open != 0 {
		open := uint32(1)
		for _, c := range b[8 : 8+n] {
			open += weight(uint32(c&15)) + weight(uint32(c>>4))
		}
		if open != d.open {
			return b, fmt.Errorf("cardinality: registers open by %d, the head says %d", open, d.open)
		}
	}
	*h = d
	clear(cells)
	copy(cells, b[8:8+n])
	return b[8+n:], nil
}

// LogSF is ln P(K ≥ k) for the number K of new distinct values in the next draws, after a past of total draws with
// distinct different values: negative binomial with the mean of the Pitman–Yor process with concentration 1 and
// that discount, (V+1/d)·((1+w/(n+1))^d − 1) (Favaro et al. 2009), and the size V+1/d that its limit law suggests
// (Pitman 2006, §3.3). A discount near 0 is a closed world (services), near 1 an open one (ids, paths); Discount
// estimates it. No past, no basis: 0.
func LogSF(k, draws, distinct, total, discount float64) float64 {
	if total <= 0 || distinct <= 0 {
		return 0
	}
	mean, size := expect(draws, distinct, total, discount)
	return tail.NegBinomialLogSF(k, mean, size)
}

// Expect is the mean number of new distinct values in the next draws; see LogSF.
func Expect(draws, distinct, total, discount float64) float64 {
	mean, _ := expect(draws, distinct, total, discount)
	return mean
}

func expect(draws, distinct, total, discount float64) (mean, size float64) {
	d := math.Min(math.Max(discount, 0.01), 0.99)
	size = distinct + 1/d
	return size * math.Expm1(d*math.Log1p(draws/(total+1))), size
}

// Discount estimates the exponent of growth d in V ∝ n^d from the totals seen (Heaps' law), shrunk to prior, which
// counts as much as weight values do.
func Discount(distinct, total, prior, weight float64) float64 {
	if distinct <= 1 || total <= 1 {
		return prior
	}
	own := math.Min(1, math.Log(distinct)/math.Log(total))
	return (prior*weight + own*distinct) / (weight + distinct)
}
