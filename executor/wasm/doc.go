// Package wasm runs extension modules: WebAssembly, in wazero, with nothing but what their grants name.
//
//	engine ──Check, Capture, Apply, Revert──► function ──request──► shoal_call ┐ an instance of its own
//	                                             │                             │ for each call
//	Host ◄── guard (grants, read-only) ◄── operation ◄── host(…) ◄─────────────┘
//
// docs/modules.md is the interface, for who writes a module.
package wasm
