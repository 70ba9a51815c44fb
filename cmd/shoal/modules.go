package main

import (
	"shoal/executor"
	"shoal/internal/builtin"
	"shoal/states"
)

// modules is what states may say.
func modules() []executor.Module { return builtin.Modules() }

// functions describes the modules to the compiler.
func functions() []states.Function { return builtin.Functions() }
