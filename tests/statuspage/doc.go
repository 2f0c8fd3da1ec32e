// Package statuspage drives the status page in a headless Chromium, beside a real forwarder. Package monitor/statuspage's own tests ask for it without a
// browser.
package statuspage
