package wasm

// Trim is for tests.
var Trim = trim
