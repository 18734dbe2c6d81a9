// Package config is what `cistern serve` can be told: one struct, its flags, and
// the environment variables of each. Where the reference relay has a flag of the
// same meaning, its name is kept and its variable is read too.
//
// It does not open, dial or start anything.
package config
