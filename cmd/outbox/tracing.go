package main

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
	"github.com/bento-outbox/watermill-outbox/internal/seldom"
)

// Tracing is set up by the variables that OpenTelemetry has for it and everybody knows, so there are no settings of the same. The SDK reads
// those that are not named here, such as OTEL_TRACES_SAMPLER, by itself.
const (
	otlpEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otlpTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	otlpProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	otlpTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	otelTracesExporter = "OTEL_TRACES_EXPORTER"
	otelDisabled       = "OTEL_SDK_DISABLED"
)

// flushWait bounds how long spans that were not exported yet hold up the end.
const flushWait = 3 * time.Second

// first returns the first of the variables that is set, and its value.
func first(variables ...string) (name, value string) {
	for _, name := range variables {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return name, value
		}
	}
	return "", ""
}

// tracingEndpoint returns where traces go, empty for nowhere. What the variables say wrongly are faults.
func tracingEndpoint(f *faults) string {
	place, endpoint := first(otlpTracesEndpoint, otlpEndpoint)
	if _, disabled := first(otelDisabled); endpoint == "" || strings.EqualFold(disabled, "true") {
		return ""
	}
	switch _, exporter := first(otelTracesExporter); exporter {
	case "none":
		return ""
	case "", "otlp":
	default:
		f.Add("%s: %q is none that there is; there are otlp and none", otelTracesExporter, exporter)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		f.Add("%s: it is no URL such as http://collector:4318", place)
		return ""
	}
	if name, protocol := first(otlpTracesProtocol, otlpProtocol); protocol != "" && protocol != "http/protobuf" {
		f.Add("%s: %q is none that there is; set it to http/protobuf, and the endpoint to the collector's port for that, usually 4318", name, protocol)
	}
	return redact.URL(endpoint)
}

// tracing returns what makes spans, nil when no endpoint is set, and a function that exports what is left of them. A collector that cannot be
// reached loses spans and holds nothing up.
func (s *session) tracing(ctx context.Context) (trace.TracerProvider, func(), error) {
	endpoint := tracingEndpoint(&s.faults)
	if endpoint == "" {
		return nil, func() {}, nil
	}
	otel.SetLogger(logr.FromSlogHandler(s.log.Handler()))
	otel.SetErrorHandler(tracingFaults{s.log, seldom.New(time.Minute)})
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, func() {}, err
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", "outbox"), attribute.String("service.version", version())), resource.WithFromEnv())
	if err != nil {
		otel.Handle(err) // the rest of it is there
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	s.log.Info("Exporting traces", slog.String("endpoint", endpoint))
	return provider, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			s.log.Warn("Ended without exporting the last traces", slog.Any("error", err))
		}
	}, nil
}

// tracingFaults logs what goes wrong with tracing, a line a minute at most: a collector that is down fails many times a second.
type tracingFaults struct {
	log  log
	line *seldom.Line
}

// maxTraceError bounds what is logged of an error, which may have the answer of a server in it.
const maxTraceError = 300

// Handle logs err, or counts it.
func (t tracingFaults) Handle(err error) {
	if more, due := t.line.Due(); due {
		text := redact.Text(oneLine(err.Error()))
		t.log.Warn("Tracing does not work; events are delivered all the same", slog.String("error", text[:min(len(text), maxTraceError)]),
			slog.Int("more", more))
	}
}
