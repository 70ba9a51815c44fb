// Package sshdial opens SSH connections as ssh(1) would: names, users, ports, keys and jumps from ssh_config(5), the other
// side's key checked against known_hosts, keys from an agent and from files. It asks for no password and trusts no key at
// first sight.
package sshdial
