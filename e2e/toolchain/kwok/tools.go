//go:build tools

// Package tools pins the controller that plays hollow nodes.
package tools

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
