package app_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gate stands between engines and a server, as a network does that can be cut.
type gate struct {
	l      net.Listener
	server atomic.Pointer[string]
	// gentle is for the embedded ClickHouse, which does not outlive a client that dies while it logs in: towards the
	// server such a connection is kept open, whatever becomes of the client.
	gentle bool

	mu     sync.Mutex
	turned sync.Cond // when anything below has changed
	silent bool      // nothing gets through, and nobody is told
	shut   bool      // connections are reset
	closed bool
	lag    time.Duration // what an INSERT waits for before it gets through
	mute   int           // INSERTs whose answers are lost, with the connection
	trap   bool          // falls silent with the next rows of an INSERT INTO events, before they get through
	sprung chan struct{} // closed when trap was sprung
	links  map[*passage]struct{}
	closes []net.Conn // what is closed at the end
	wg     sync.WaitGroup
}

// loggedIn is how much has been read of a client that has logged in: what it says first may come in two pieces, so only what
// follows its answer to the server's greeting is sure.
const loggedIn = 3

// passage is one connection through a gate.
type passage struct {
	in, out net.Conn
	packets int  // read of the client
	insert  bool // the statement went through, its rows did not
	rows    bool // rows of an insert went through
	lost    bool // its answer is kept from the client
}

// newGate returns an open gate. Without a server yet, setServer names it before anybody comes.
func newGate(t *testing.T, server string, gentle bool) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, gentle: gentle, links: map[*passage]struct{}{}}
	g.server.Store(&server)
	g.turned.L = &g.mu
	t.Cleanup(g.close)
	g.wg.Go(g.accept)
	return g
}

func (g *gate) addr() string { return g.l.Addr().String() }

func (g *gate) close() {
	g.l.Close()
	g.mu.Lock()
	g.closed = true
	g.turned.Broadcast()
	for _, c := range g.closes {
		c.Close()
	}
	g.mu.Unlock()
	g.wg.Wait()
}

// set changes the gate.
func (g *gate) set(change func(g *gate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
	g.turned.Broadcast()
	if g.shut {
		for p := range g.links {
			reset(p.in)
			if !g.gentle || p.packets >= loggedIn {
				p.out.Close()
			}
		}
	}
}

// cut takes the network away: silently, or with a reset of every connection. mend gives it back.
func (g *gate) cut(silently bool) {
	g.set(func(g *gate) { g.silent, g.shut = silently, !silently })
}

func (g *gate) mend() { g.set(func(g *gate) { g.silent, g.shut = false, false }) }

// setTrap makes the gate fall silent in the middle of the next insert of events, and tells when that has happened.
func (g *gate) setTrap() <-chan struct{} {
	sprung := make(chan struct{})
	g.set(func(g *gate) { g.trap, g.sprung = true, sprung })
	return sprung
}

// reset ends a connection as if a router had forgotten it.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed in any case
	}
	c.Close()
}

// pass waits while the gate is silent; false at the end of the test.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.silent && !g.closed {
		g.turned.Wait()
	}
	return !g.closed
}

func (g *gate) accept() {
	for {
		in, err := g.l.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		if g.shut || g.closed {
			g.mu.Unlock()
			reset(in)
			continue
		}
		g.closes = append(g.closes, in)
		g.mu.Unlock()
		g.wg.Go(func() {
			if !g.pass() {
				return
			}
			out, err := net.Dial("tcp", *g.server.Load())
			if err != nil {
				reset(in)
				return
			}
			p := &passage{in: in, out: out}
			g.mu.Lock()
			g.closes = append(g.closes, out)
			if g.shut || g.closed {
				g.mu.Unlock()
				reset(in)
				if !g.gentle {
					out.Close()
				}
				return
			}
			g.links[p] = struct{}{}
			g.mu.Unlock()
			var both sync.WaitGroup
			both.Go(func() { g.forth(p) })
			both.Go(func() { g.back(p) })
			both.Wait()
			g.mu.Lock()
			delete(g.links, p)
			g.mu.Unlock()
		})
	}
}

// forth hands on what the client says.
func (g *gate) forth(p *passage) {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.in.Read(buf)
		if err == nil {
			g.mu.Lock()
			p.packets++
			var lag time.Duration
			switch {
			case bytes.Contains(buf[:n], []byte("INSERT INTO")):
				lag = g.lag
				p.insert = bytes.Contains(buf[:n], []byte("INSERT INTO events "))
			case p.insert:
				p.insert, p.rows = false, true
				if g.trap {
					g.trap, g.silent = false, true
					close(g.sprung)
				}
			}
			g.mu.Unlock()
			if lag > 0 {
				<-time.After(lag)
			}
			if !g.pass() {
				return
			}
			_, err = p.out.Write(buf[:n])
		}
		if err != nil {
			g.mu.Lock()
			known, lost := p.packets >= loggedIn, p.lost
			g.mu.Unlock()
			if (!g.gentle || known) && !lost {
				g.pass() // the end of a connection is no faster than what was said before
				p.out.Close()
			}
			return
		}
	}
}

// endOfStream is the packet, of nothing but its type, that ends an answer in ClickHouse's native protocol.
const endOfStream = 5

// back hands on what the server says.
func (g *gate) back(p *passage) {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.out.Read(buf)
		if err == nil {
			if !g.pass() {
				return
			}
			g.mu.Lock()
			lose := p.rows && g.mute > 0
			if lose {
				g.mute--
				p.lost = true
			}
			p.rows = false
			g.mu.Unlock()
			if lose {
				reset(p.in)
				// What the server says first may be how far it is: it is to finish, or it would take the rows back.
				p.out.SetReadDeadline(time.Now().Add(patience))
				for err == nil && buf[n-1] != endOfStream {
					n, err = p.out.Read(buf)
				}
				p.out.Close()
				return
			}
			_, err = p.in.Write(buf[:n])
		}
		if err != nil {
			p.in.Close() // the end of either side is the end
			return
		}
	}
}

// disguised is a listener that is known by another address, that of a gate before it.
type disguised struct {
	net.Listener
	as net.Addr
}

func (d disguised) Addr() net.Addr { return d.as }
