//go:build tools

// Package tools pins the low-level runtime that starts containers.
package tools

import (
	_ "github.com/opencontainers/runc"
)
