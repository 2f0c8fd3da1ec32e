package monitor

// For tests from outside.
const (
	MaxLabelValues = maxLabelValues
	MaxLabelLength = maxLabelLength
)

// AlertRules are the rules that raise alerts.
var AlertRules = alertRules
