package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/centrifugal/centrifuge-go"
)

// The official Go SDK (centrifuge-go), JSON or Protobuf.

var background = context.Background()

// peer is a client and what it was told.
type peer struct {
	*centrifuge.Client
	*events
	id string
}

// subscription is a subscription and what it was told.
type subscription struct {
	*centrifuge.Subscription
	*events
}

type connector struct {
	protobuf bool
}

func (c connector) create(url string, config centrifuge.Config) *peer {
	var client *centrifuge.Client
	if c.protobuf {
		client = centrifuge.NewProtobufClient(url, config)
	} else {
		client = centrifuge.NewJsonClient(url, config)
	}
	p := &peer{Client: client, events: newEvents()}
	client.OnConnecting(func(e centrifuge.ConnectingEvent) { p.add(e) })
	client.OnConnected(func(e centrifuge.ConnectedEvent) { p.add(e) })
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) { p.add(e) })
	client.OnError(func(e centrifuge.ErrorEvent) { p.add(e) })
	client.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) { p.add(e) })
	client.OnUnsubscribed(func(e centrifuge.ServerUnsubscribedEvent) { p.add(e) })
	client.OnPublication(func(e centrifuge.ServerPublicationEvent) { p.add(e) })
	must(client.Connect())
	return p
}

func (c connector) connectTo(url string, config centrifuge.Config) *peer {
	p := c.create(url, config)
	p.id = next[centrifuge.ConnectedEvent](p.events).ClientID
	return p
}

func (c connector) connect(config centrifuge.Config) *peer {
	return c.connectTo(setting("SDK_WS_URL"), config)
}

func (c connector) as(user string) *peer {
	return c.connect(centrifuge.Config{Token: token(object{"sub": user})})
}

func (p *peer) start(channel string) *subscription {
	sub, err := p.NewSubscription(channel)
	must(err)
	s := &subscription{Subscription: sub, events: newEvents()}
	sub.OnSubscribing(func(e centrifuge.SubscribingEvent) { s.add(e) })
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) { s.add(e) })
	sub.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) { s.add(e) })
	sub.OnPublication(func(e centrifuge.PublicationEvent) { s.add(e) })
	sub.OnJoin(func(e centrifuge.JoinEvent) { s.add(e) })
	sub.OnLeave(func(e centrifuge.LeaveEvent) { s.add(e) })
	must(sub.Subscribe())
	return s
}

func (p *peer) subscribe(channel string) *subscription {
	s := p.start(channel)
	next[centrifuge.SubscribedEvent](s.events)
	return s
}

func decoded(data []byte) object {
	var value object
	must(json.Unmarshal(data, &value))
	return value
}

// number reads the `n` of a payload.
func number(data []byte) int {
	return int(decoded(data)["n"].(float64))
}

func publishNumber(channel string, n int) {
	api("publish", object{"channel": channel, "data": object{"n": n}})
}

func errorCode(err error) uint32 {
	var reply *centrifuge.Error
	if !errors.As(err, &reply) {
		panic(fmt.Errorf("%v is not an error of the server", err))
	}
	return reply.Code
}

// ---- checks ------------------------------------------------------------------------------

func clientChecks(protobuf bool) {
	c := connector{protobuf}
	c.connectionChecks()
	c.subscriptionChecks()
	check("history is read forwards and backwards", c.historyIsReadBothWays)
	check("ten messages are recovered after a cut", c.tenMessagesAreRecovered)
	check("a server-side subscription comes with the token", c.serverSideSubscription)
}

// clientCalls makes calls that a backend answers, refuses, and ends the connection over.
func clientCalls(protobuf bool) {
	c := connector{protobuf}
	check("calls reach the backend", func() {
		p := c.as("caller")
		defer p.Close()
		result, err := p.RPC(background, "add", []byte(`{"a": 2, "b": 3}`))
		must(err)
		equal(decoded(result.Data), object{"sum": 5.0})
		_, err = p.RPC(background, "unknown", []byte("{}"))
		equal(errorCode(err), uint32(1404))
	})
	check("the backend ends a connection", func() {
		p := c.as("caller")
		defer p.Close()
		go func() { _, _ = p.RPC(background, "quit", []byte("{}")) }()
		ended := next[centrifuge.DisconnectedEvent](p.events)
		equal(ended.Code, uint32(4501))
		equal(ended.Reason, "come back never")
	})
}

func (c connector) connectionChecks() {
	check("connect with a token", func() {
		p := c.as("alice")
		defer p.Close()
		if !regexp.MustCompile("^[0-9a-f-]{36}$").MatchString(p.id) {
			panic(p.id)
		}
	})
	check("connect without a token is refused", func() { c.refused("", 3501) })
	check("a wrong token is refused", func() {
		right := token(object{"sub": "alice"})
		c.refused(right[:len(right)-4]+"AAAA", 3500)
	})
	check("an expired token is exchanged for a new one", c.expiredTokenIsExchanged)
	check("a short token is refreshed on the same connection", c.shortTokenIsRefreshed)
	check("the API disconnects for good", func() {
		user := unique("user")
		p := c.as(user)
		defer p.Close()
		api("disconnect", object{"user": user})
		event := next[centrifuge.DisconnectedEvent](p.events)
		equal(event, centrifuge.DisconnectedEvent{Code: 3503, Reason: "force disconnect"})
	})
}

func (c connector) refused(token string, code uint32) {
	p := c.create(setting("SDK_WS_URL"), centrifuge.Config{Token: token})
	defer p.Close()
	equal(next[centrifuge.DisconnectedEvent](p.events).Code, code)
}

func (c connector) expiredTokenIsExchanged() {
	var asked atomic.Int32
	p := c.create(setting("SDK_WS_URL"), centrifuge.Config{
		Token: shortToken("alice", -10),
		GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			asked.Add(1)
			return shortToken("alice", 60), nil
		},
	})
	defer p.Close()
	equal(errorCode(next[centrifuge.ErrorEvent](p.events).Error), uint32(109))
	next[centrifuge.ConnectedEvent](p.events)
	equal(asked.Load(), int32(1))
}

func (c connector) shortTokenIsRefreshed() {
	var asked atomic.Int32
	p := c.connect(centrifuge.Config{
		Token: shortToken("alice", 2),
		GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			asked.Add(1)
			return shortToken("alice", 2), nil
		},
	})
	defer p.Close()
	// The second question comes after the life that the first refresh was answered with.
	until(func() bool { return asked.Load() >= 2 })
	equal(p.State(), centrifuge.StateConnected)
	equal(count[centrifuge.ConnectingEvent](p.events), 1)
}

func (c connector) subscriptionChecks() {
	p := c.as("alice")
	defer p.Close()
	s := p.subscribe(unique("open"))
	check("a publication arrives", func() { publicationArrives(p, s) })
	check("presence shows who is there", func() {
		presence, err := s.Presence(background)
		must(err)
		equal(len(presence.Clients), 1)
		equal(presence.Clients[p.id].User, "alice")
		stats, err := s.PresenceStats(background)
		must(err)
		equal(stats.PresenceStats, centrifuge.PresenceStats{NumClients: 1, NumUsers: 1})
	})
	check("joins and leaves arrive", func() { c.joinsAndLeavesArrive(s) })
	check("after unsubscribing nothing arrives", func() { nothingArrivesAfterUnsubscribing(p, s) })
	check("an unknown namespace is error 102", func() {
		refused := p.start(unique("nowhere"))
		equal(next[centrifuge.UnsubscribedEvent](refused.events).Code, uint32(102))
	})
	check("a forbidden channel is error 103", func() {
		refused := p.start(unique("closed"))
		equal(next[centrifuge.UnsubscribedEvent](refused.events).Code, uint32(103))
	})
	check("a forbidden publish is error 103", func() {
		_, err := p.Publish(background, unique("closed"), []byte("{}"))
		equal(errorCode(err), uint32(103))
	})
}

func publicationArrives(p *peer, s *subscription) {
	_, err := s.Publish(background, []byte(`{"text":"héllo"}`))
	must(err)
	own := next[centrifuge.PublicationEvent](s.events)
	equal(string(own.Data), `{"text":"héllo"}`)
	equal(own.Offset, uint64(1))
	equal([]string{own.Info.User, own.Info.Client}, []string{"alice", p.id})
	api("publish", object{"channel": s.Channel, "data": object{"from": "api"}, "tags": object{"k": "v"}})
	other := next[centrifuge.PublicationEvent](s.events)
	equal(decoded(other.Data), object{"from": "api"})
	equal(other.Tags, map[string]string{"k": "v"})
	if other.Info != nil {
		panic("a publication of the API has an info")
	}
}

func (c connector) joinsAndLeavesArrive(s *subscription) {
	other := c.as("bob")
	defer other.Close()
	theirs := other.subscribe(s.Channel)
	join := next(s.events, func(e centrifuge.JoinEvent) bool { return e.User == "bob" })
	equal(join.Client, other.id)
	must(theirs.Unsubscribe())
	leave := next(s.events, func(e centrifuge.LeaveEvent) bool { return e.User == "bob" })
	equal(leave.Client, other.id)
}

func nothingArrivesAfterUnsubscribing(p *peer, s *subscription) {
	must(s.Unsubscribe())
	next[centrifuge.UnsubscribedEvent](s.events)
	until(func() bool {
		return api("presence_stats", object{"channel": s.Channel})["num_clients"] == float64(0)
	})
	publishNumber(s.Channel, 1)
	// What is published later elsewhere arrives, so the other would have arrived as well.
	fence := p.subscribe(unique("open"))
	publishNumber(fence.Channel, 2)
	next[centrifuge.PublicationEvent](fence.events)
	equal(count[centrifuge.PublicationEvent](s.events), 0)
}

func (c connector) historyIsReadBothWays() {
	p := c.as("alice")
	defer p.Close()
	s := p.subscribe(unique("open"))
	for n := 1; n <= 5; n++ {
		publishNumber(s.Channel, n)
	}
	top, err := s.History(background)
	must(err)
	equal(top.Offset, uint64(5))
	equal(len(top.Publications), 0)
	read := func(expected []int, options ...centrifuge.HistoryOption) {
		page, err := s.History(background, options...)
		must(err)
		var numbers []int
		for _, publication := range page.Publications {
			numbers = append(numbers, number(publication.Data))
		}
		equal(numbers, expected)
		equal([]any{page.Offset, page.Epoch}, []any{uint64(5), top.Epoch})
	}
	limit, backwards := centrifuge.WithHistoryLimit, centrifuge.WithHistoryReverse(true)
	since := func(offset uint64, epoch string) centrifuge.HistoryOption {
		return centrifuge.WithHistorySince(&centrifuge.StreamPosition{Offset: offset, Epoch: epoch})
	}
	read([]int{1, 2, 3, 4, 5}, limit(100))
	read([]int{1, 2}, limit(2))
	read([]int{5, 4, 3, 2, 1}, limit(100), backwards)
	read([]int{3, 4}, limit(2), since(2, top.Epoch))
	read([]int{3, 2}, limit(2), since(4, top.Epoch), backwards)
	_, err = s.History(background, limit(1), since(2, "another"))
	equal(errorCode(err), uint32(112))
}

func (c connector) tenMessagesAreRecovered() {
	g, url := openGate()
	p := c.connectTo(url, centrifuge.Config{Token: token(object{"sub": "alice"})})
	defer p.Close()
	s := p.start(unique("open"))
	equal(next[centrifuge.SubscribedEvent](s.events).Recoverable, true)
	next[centrifuge.SubscribingEvent](s.events)
	publishNumber(s.Channel, 0)
	next[centrifuge.PublicationEvent](s.events)
	g.cut()
	next[centrifuge.SubscribingEvent](s.events)
	for n := 1; n <= 10; n++ {
		publishNumber(s.Channel, n)
	}
	g.open()
	again := next[centrifuge.SubscribedEvent](s.events)
	equal([]bool{again.WasRecovering, again.Recovered}, []bool{true, true})
	publishNumber(s.Channel, 11)
	for n := 1; n <= 11; n++ {
		publication := next[centrifuge.PublicationEvent](s.events)
		equal(number(publication.Data), n)
		equal(publication.Offset, uint64(n+1))
	}
}

func (c connector) serverSideSubscription() {
	channel, user := unique("open"), unique("user")
	p := c.connect(centrifuge.Config{Token: token(object{"sub": user, "channels": []string{channel}})})
	defer p.Close()
	equal(next[centrifuge.ServerSubscribedEvent](p.events).Channel, channel)
	publishNumber(channel, 1)
	publication := next[centrifuge.ServerPublicationEvent](p.events)
	equal(publication.Channel, channel)
	equal(number(publication.Data), 1)
	api("unsubscribe", object{"user": user, "channel": channel})
	equal(next[centrifuge.ServerUnsubscribedEvent](p.events).Channel, channel)
	later := unique("open")
	api("subscribe", object{"user": user, "channel": later})
	equal(next[centrifuge.ServerSubscribedEvent](p.events).Channel, later)
}

// ---- mixed -------------------------------------------------------------------------------

// clientMixed tells that it is ready, waits for the line "go", publishes its messages, prints every message it receives
// and ends after total.
func clientMixed(protobuf bool, name, channel string, total int) {
	p := connector{protobuf}.as(name)
	s := p.subscribe(channel)
	ready, err := json.Marshal(object{"ready": name})
	must(err)
	fmt.Println(string(ready))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan() && lines.Text() != "go"; {
	}
	published := make(chan error, 1)
	go func() {
		for n := range mixedMessages {
			message := fmt.Sprintf(`{"from":%q,"n":%d}`, name, n)
			if _, err := s.Publish(background, []byte(message)); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	out := bufio.NewWriter(os.Stdout)
	for range total {
		_, err := fmt.Fprintln(out, string(next[centrifuge.PublicationEvent](s.events).Data))
		must(err)
	}
	must(<-published)
	must(out.Flush())
	p.Close()
}

// ---- follow ------------------------------------------------------------------------------

// clientFollow prints every number of the channel, and every time it has subscribed; it comes back by itself until the
// last one.
func clientFollow(protobuf bool, name, channel string, last int, delta centrifuge.DeltaType) {
	p := connector{protobuf}.create(setting("SDK_WS_URL"), centrifuge.Config{Token: token(object{"sub": name})})
	sub, err := p.NewSubscription(channel, centrifuge.SubscriptionConfig{Delta: delta})
	must(err)
	var mu sync.Mutex
	tell := func(value any) {
		line, err := json.Marshal(value)
		must(err)
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(string(line))
	}
	done := make(chan struct{})
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) {
		tell(object{"subscribed": object{"wasRecovering": e.WasRecovering, "recovered": e.Recovered}})
	})
	sub.OnPublication(func(e centrifuge.PublicationEvent) {
		n := number(e.Data)
		if delta == centrifuge.DeltaTypeNone {
			tell(object{"n": n})
		} else {
			tell(json.RawMessage(e.Data))
		}
		if n == last {
			close(done)
		}
	})
	must(sub.Subscribe())
	<-done
	p.Close()
}
