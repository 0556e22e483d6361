//go:build tools

// Package tools pins the kind program.
package tools

import (
	_ "sigs.k8s.io/kind"
)
