package netsim

import "math/rand/v2"

func (h *Host) speak(a *Account, name string) error { return nil }
func randomDialect(r *rand.Rand) string             { return "" }
