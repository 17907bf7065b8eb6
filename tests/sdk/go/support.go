package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"sync"
	"time"
)

// What the programs share: settings, tokens, the server API, a cuttable way to the server, checks, events.

const (
	checkLimit    = 15 * time.Second
	totalLimit    = 60 * time.Second
	mixedMessages = 100
)

func setting(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fmt.Fprintln(os.Stderr, name+" is not set")
		os.Exit(2)
	}
	return value
}

// ---- server ------------------------------------------------------------------------------

type object = map[string]any

func token(claims object) string {
	part := func(value any) string {
		raw, err := json.Marshal(value)
		must(err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	signed := part(object{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(setting("SDK_SECRET")))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// shortToken lives so many seconds; negative for an expired one.
func shortToken(user string, seconds int64) string {
	return token(object{"sub": user, "exp": time.Now().Unix() + seconds})
}

func api(method string, params object) object {
	body, err := json.Marshal(params)
	must(err)
	request, err := http.NewRequest(http.MethodPost, setting("SDK_API_URL")+"/"+method, bytes.NewReader(body))
	must(err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", setting("SDK_API_KEY"))
	response, err := http.DefaultClient.Do(request)
	must(err)
	defer response.Body.Close()
	var answer struct {
		Error  any    `json:"error"`
		Result object `json:"result"`
	}
	must(json.NewDecoder(response.Body).Decode(&answer))
	if answer.Error != nil {
		panic(fmt.Errorf("API %s: %v", method, answer.Error))
	}
	return answer.Result
}

// gate is a way to the server that can be cut and opened again; nothing gets through while it is cut.
type gate struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	closed   bool
	conns    map[net.Conn]struct{}
}

// openGate returns a gate to the WebSocket endpoint, and the URL that leads through it.
func openGate() (*gate, string) {
	target, err := url.Parse(setting("SDK_WS_URL"))
	must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	g := &gate{listener: listener, target: target.Host, conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go g.accept(conn)
		}
	}()
	target.Host = listener.Addr().String()
	return g, target.String()
}

func (g *gate) accept(near net.Conn) {
	far, err := net.Dial("tcp", g.target)
	if err != nil {
		_ = near.Close()
		return
	}
	if !g.keep(near, far) {
		_, _ = near.Close(), far.Close()
		return
	}
	var copies sync.WaitGroup
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		copies.Add(1)
		go func() {
			defer copies.Done()
			_, _ = io.Copy(pair[0], pair[1])
			_, _ = near.Close(), far.Close()
		}()
	}
	copies.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, near)
	delete(g.conns, far)
}

func (g *gate) keep(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	for _, conn := range conns {
		g.conns[conn] = struct{}{}
	}
	return true
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for conn := range g.conns {
		_ = conn.Close()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

// unique returns a channel nobody else uses.
func unique(namespace string) string {
	raw := make([]byte, 16)
	_, err := rand.Read(raw)
	must(err)
	return namespace + ":" + hex.EncodeToString(raw)
}

// ---- events ------------------------------------------------------------------------------

// events holds everything that was told, in order.
type events struct {
	mu      sync.Mutex
	seen    []any
	changed chan struct{}
}

func newEvents() *events {
	return &events{changed: make(chan struct{})}
}

func (e *events) add(event any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, event)
	close(e.changed)
	e.changed = make(chan struct{})
}

// next takes the first event of this type (and condition), one that has come already or the next to come.
func next[T any](e *events, conditions ...func(T) bool) T {
	deadline := time.After(checkLimit)
	for {
		event, changed, found := take(e, conditions)
		if found {
			return event
		}
		select {
		case <-changed:
		case <-deadline:
			panic(fmt.Errorf("no %T within %s", event, checkLimit))
		}
	}
}

func take[T any](e *events, conditions []func(T) bool) (T, chan struct{}, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
search:
	for index, seen := range e.seen {
		event, ok := seen.(T)
		if !ok {
			continue
		}
		for _, condition := range conditions {
			if !condition(event) {
				continue search
			}
		}
		e.seen = append(e.seen[:index:index], e.seen[index+1:]...)
		return event, e.changed, true
	}
	var none T
	return none, e.changed, false
}

func count[T any](e *events) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := 0
	for _, seen := range e.seen {
		if _, ok := seen.(T); ok {
			found++
		}
	}
	return found
}

// until repeats a question until its answer is yes.
func until(question func() bool) {
	for deadline := time.Now().Add(checkLimit); !question(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic(fmt.Errorf("not so within %s", checkLimit))
		}
	}
}

// ---- checks ------------------------------------------------------------------------------

var passed int

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Errorf("%#v instead of %#v", got, expected))
	}
}

// check runs one check; the first that fails ends the program.
func check(name string, body func()) {
	checkWithin(checkLimit+5*time.Second, name, body)
}

func checkWithin(longest time.Duration, name string, body func()) {
	defer func() {
		if problem := recover(); problem != nil {
			fail(name, problem)
		}
	}()
	limit := time.AfterFunc(longest, func() { fail(name, "not done in time") })
	body()
	limit.Stop()
	passed++
	fmt.Println("ok", name)
}

func fail(name string, problem any) {
	fmt.Printf("FAILED %s: %v\n", name, problem)
	os.Exit(1)
}

func leftOut(name, reason string) {
	fmt.Printf("left out %s: %s\n", name, reason)
}

// run runs a program within the overall time limit.
func run(body func()) {
	runWithin(totalLimit, body)
}

func runWithin(limit time.Duration, body func()) {
	defer func() {
		if problem := recover(); problem != nil {
			fail("program", problem)
		}
	}()
	time.AfterFunc(limit, func() { fail("program", fmt.Sprintf("not done within %s", limit)) })
	body()
	if passed > 0 {
		fmt.Println(passed, "checks passed")
	}
}
