package router

// CheckConfig reports what is wrong with a routing config that an event is to carry, as [Table.Resolve] of that event would. Results are remembered.
func (t *Table) CheckConfig(config string) error {
	_, err := t.Resolve(&Event{RoutingConfig: config})
	return err
}

// CheckConfig is [Table.CheckConfig] of the table in use.
func (l *Live) CheckConfig(config string) error { return l.table.Load().CheckConfig(config) }
