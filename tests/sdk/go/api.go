package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge-go"
	"github.com/centrifugal/gocent/v3"
)

// The official Go package for the server API (gocent), which uses the older form of the HTTP API.

func apiClient(key string) *gocent.Client {
	return gocent.New(gocent.Config{
		Addr:       setting("SDK_API_URL"),
		Key:        key,
		HTTPClient: &http.Client{Timeout: 10 * time.Second},
	})
}

func apiErrorCode(err error) int {
	var reply *gocent.Error
	if !errors.As(err, &reply) {
		panic(fmt.Errorf("%v is not an error of the API", err))
	}
	return reply.Code
}

func apiChecks() {
	client := apiClient(setting("SDK_API_KEY"))
	check("the key is checked", func() {
		_, err := apiClient("wrong").Info(background)
		var status gocent.ErrStatusCode
		if !errors.As(err, &status) {
			panic(fmt.Errorf("a wrong key was answered with %v", err))
		}
		equal(status.Code, http.StatusUnauthorized)
	})
	check("publications reach subscribers", func() { publicationsReachSubscribers(client) })
	check("history is read and removed", func() { historyIsReadAndRemoved(client) })
	check("presence names connections", func() { presenceNamesConnections(client) })
	check("connections are subscribed and unsubscribed", func() { connectionsAreSubscribed(client) })
	check("connections are closed", func() {
		user := unique("user")
		p := connector{}.as(user)
		defer p.Close()
		why := &gocent.Disconnect{Code: 4500, Reason: "enough"}
		must(client.Disconnect(background, user, gocent.WithDisconnect(why)))
		event := next[centrifuge.DisconnectedEvent](p.events)
		equal(event, centrifuge.DisconnectedEvent{Code: 4500, Reason: "enough"})
	})
	check("nodes are listed", func() {
		info, err := client.Info(background)
		must(err)
		equal(len(info.Nodes), 1)
	})
	check("several commands travel together", func() { severalCommandsTravelTogether(client) })
	check("an unknown namespace is error 102", func() {
		_, err := client.Publish(background, unique("nowhere"), []byte("{}"))
		equal(apiErrorCode(err), 102)
	})
	check("presence that is off is error 108", func() {
		_, err := client.Presence(background, unique("bare"))
		equal(apiErrorCode(err), 108)
	})
	leftOut("idempotency keys, versions, tags, refresh", "gocent does not know them")
}

func publicationsReachSubscribers(client *gocent.Client) {
	p := connector{}.as("alice")
	defer p.Close()
	one, other := p.subscribe(unique("open")), p.subscribe(unique("open"))
	result, err := client.Publish(background, one.Channel, []byte(`{"n":1}`))
	must(err)
	equal(result.Offset, uint64(1))
	equal(number(next[centrifuge.PublicationEvent](one.events).Data), 1)
	broadcast, err := client.Broadcast(background, []string{one.Channel, other.Channel}, []byte(`{"n":2}`))
	must(err)
	equal(broadcast.Responses[0].Result.Offset, uint64(2))
	equal(broadcast.Responses[1].Result.Offset, uint64(1))
	for _, s := range []*subscription{one, other} {
		equal(number(next[centrifuge.PublicationEvent](s.events).Data), 2)
	}
}

func historyIsReadAndRemoved(client *gocent.Client) {
	channel := unique("open")
	var epoch string
	for n := 1; n <= 5; n++ {
		result, err := client.Publish(background, channel, fmt.Appendf(nil, `{"n":%d}`, n))
		must(err)
		epoch = result.Epoch
	}
	read := func(expected []int, options ...gocent.HistoryOption) {
		page, err := client.History(background, channel, options...)
		must(err)
		numbers := []int{}
		for _, publication := range page.Publications {
			numbers = append(numbers, number(publication.Data))
		}
		equal(numbers, expected)
		equal([]any{page.Offset, page.Epoch}, []any{uint64(5), epoch})
	}
	since := gocent.WithSince(&gocent.StreamPosition{Offset: 2, Epoch: epoch})
	read([]int{})
	read([]int{1, 2}, gocent.WithLimit(2))
	read([]int{5, 4, 3, 2, 1}, gocent.WithLimit(gocent.NoLimit), gocent.WithReverse(true))
	read([]int{3, 4}, gocent.WithLimit(2), since)
	lost := gocent.WithSince(&gocent.StreamPosition{Offset: 2, Epoch: "another"})
	_, err := client.History(background, channel, lost)
	equal(apiErrorCode(err), 112)
	must(client.HistoryRemove(background, channel))
	read([]int{}, gocent.WithLimit(gocent.NoLimit))
}

func presenceNamesConnections(client *gocent.Client) {
	p := connector{}.as("alice")
	s := p.subscribe(unique("open"))
	presence, err := client.Presence(background, s.Channel)
	must(err)
	equal(len(presence.Presence), 1)
	equal(presence.Presence[p.id].User, "alice")
	stats, err := client.PresenceStats(background, s.Channel)
	must(err)
	equal([]int32{stats.NumClients, stats.NumUsers}, []int32{1, 1})
	channels, err := client.Channels(background, gocent.WithPattern("open:*"))
	must(err)
	if _, found := channels.Channels[s.Channel]; !found {
		panic("the channel is not listed")
	}
	p.Close()
	until(func() bool {
		stats, err := client.PresenceStats(background, s.Channel)
		must(err)
		return stats.NumClients == 0
	})
}

func connectionsAreSubscribed(client *gocent.Client) {
	user, channel := unique("user"), unique("open")
	p := connector{}.as(user)
	defer p.Close()
	must(client.Subscribe(background, channel, user))
	equal(next[centrifuge.ServerSubscribedEvent](p.events).Channel, channel)
	_, err := client.Publish(background, channel, []byte(`{"n":1}`))
	must(err)
	equal(number(next[centrifuge.ServerPublicationEvent](p.events).Data), 1)
	must(client.Unsubscribe(background, channel, user))
	equal(next[centrifuge.ServerUnsubscribedEvent](p.events).Channel, channel)
}

func severalCommandsTravelTogether(client *gocent.Client) {
	channel, pipe := unique("open"), client.Pipe()
	for n := range 3 {
		must(pipe.AddPublish(channel, fmt.Appendf(nil, `{"n":%d}`, n)))
	}
	must(pipe.AddHistory(channel, gocent.WithLimit(10)))
	must(pipe.AddPublish(unique("nowhere"), []byte("{}")))
	replies, err := client.SendPipe(background, pipe)
	must(err)
	equal(len(replies), 5)
	for _, reply := range replies[:4] {
		if reply.Error != nil {
			panic(reply.Error)
		}
	}
	equal(replies[4].Error.Code, 102)
}
