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
)

// Tracing is set up by OpenTelemetry's standard variables, so it has no settings of its own. The SDK reads those that are not named here, such as
// OTEL_TRACES_SAMPLER.
const (
	otlpEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otlpTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	otlpProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	otlpTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	otelTracesExporter = "OTEL_TRACES_EXPORTER"
	otelDisabled       = "OTEL_SDK_DISABLED"
)

// flushWait bounds how long exporting the last spans delays the exit.
const flushWait = 3 * time.Second

// first returns the first variable that is set, and its value.
func first(variables ...string) (name, value string) {
	for _, name := range variables {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return name, value
		}
	}
	return "", ""
}

// tracingEndpoint returns the URL that traces go to, or "" if tracing is off. It adds what is wrong with the variables to f.
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
		f.Add("%s: %q is not supported; want otlp or none", otelTracesExporter, exporter)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		f.Add("%s: is not a URL, such as http://collector:4318", place)
		return ""
	}
	if name, protocol := first(otlpTracesProtocol, otlpProtocol); protocol != "" && protocol != "http/protobuf" {
		f.Add("%s: %q is not supported; set it to http/protobuf, and the endpoint to the collector's port for it, usually 4318", name, protocol)
	}
	return redact.URL(endpoint)
}

// tracing returns the provider of spans, or nil if tracing is off, and a function that exports the last spans. An unreachable collector costs spans
// and delays no event.
func (s *session) tracing(ctx context.Context) (trace.TracerProvider, func(), error) {
	endpoint := tracingEndpoint(&s.faults)
	if endpoint == "" {
		return nil, func() {}, nil
	}
	otel.SetLogger(logr.FromSlogHandler(s.log.Handler()))
	otel.SetErrorHandler(s.log.seldom("Tracing does not work; events are still delivered", redacted))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, func() {}, err
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", "outbox"), attribute.String("service.version", version())), resource.WithFromEnv())
	if err != nil {
		otel.Handle(err) // the other attributes are there
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
