package main
import "context"
func runSlow(ctx context.Context, args []string) error { return nil }
