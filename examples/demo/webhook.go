package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/adapters"
	// http://
)

// startWebhook starts the courier's server, to which each message is one request.
func (b *brokers) startWebhook(ctx context.Context, logger watermill.LoggerAdapter) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	courier := &destination{name: "webhook://courier", broker: "webhook", topic: "courier"}
	b.destinations = append(b.destinations, courier)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks/"+courier.topic, func(w http.ResponseWriter, r *http.Request) {
		msg, err := webhook.UnmarshalMessage(courier.topic, r)
		if err != nil {
			http.Error(w, "no message", http.StatusBadRequest)
			return
		}
		courier.receive(msg)
		w.WriteHeader(http.StatusNoContent)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	b.atStop(func() error {
		err := server.Close()
		if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
			err = errors.Join(err, stopped)
		}
		return err
	})
	publisher, err := adapters.Open(ctx, "http://"+listener.Addr().String()+"/hooks", logger)
	if err != nil {
		return err
	}
	b.publishers["webhook"] = publisher
	b.atStop(publisher.Close)
	return nil
}
