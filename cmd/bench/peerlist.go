package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// peers lists shoal first, since the others are told as multiples of it.
func peers(shoal string) []peer {
	return []peer{
		{name: "shoal", version: []string{shoal, "version"}, files: shoalTree, run: func(dir string) []string { return []string{shoal, "apply", dir, "--name", "bench"} }},
		{name: "ansible", packages: []string{"ansible"}, version: []string{"ansible-playbook", "--version"}, files: playbook,
			run: func(string) []string {
				return []string{"ansible-playbook", "-c", "local", "-i", "localhost,", "play.yml"}
			}},
		{name: "puppet", packages: []string{"puppet-agent"}, version: []string{"puppet", "--version"}, files: puppetManifest,
			run: func(string) []string { return []string{"puppet", "apply", "main.pp"} }},
		{name: "cfengine", packages: []string{"cfengine3"}, version: []string{"cf-agent", "--version"}, files: cfenginePolicy,
			run: func(dir string) []string { return []string{"cf-agent", "-K", "-f", filepath.Join(dir, "main.cf")} }},
		{name: "bare", only: bareWork},
	}
}

func shoalTree(w peerWork) map[string]string {
	return map[string]string{
		"site.yaml": "targets:\n  - {on: \"*\", components: [bench]}\n",
		"components/bench/states.yaml": "states:\n  folder: {file.directory: {path: /etc/bench-shoal}}\n  package: {pkg.installed: {name: coreutils}}\n" +
			"  user: {user.present: {name: " + w.user() + "}}\n" + w.each(func(i int) string {
			return fmt.Sprintf("  f%d: {file.managed: {path: %s, content: %q, mode: \"0640\"}}\n", i, w.path(i), w.text(i))
		}),
	}
}

func playbook(w peerWork) map[string]string {
	return map[string]string{"play.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n    - file: {path: /etc/bench-ansible, state: directory}\n" +
		"    - package: {name: coreutils, state: present}\n      vars: {ansible_pkg_mgr: apt}\n    - user: {name: " + w.user() + "}\n    - copy: {dest: \"{{ item.path }}\", content: \"{{ item.content }}\", mode: \"0640\"}\n      loop:\n" +
		w.each(func(i int) string { return fmt.Sprintf("        - {path: %s, content: %q}\n", w.path(i), w.text(i)) })}
}

func puppetManifest(w peerWork) map[string]string {
	return map[string]string{"main.pp": "file { '/etc/bench-puppet': ensure => directory }\npackage { 'coreutils': ensure => installed }\nuser { '" + w.user() + "': ensure => present }\n" +
		w.each(func(i int) string {
			return fmt.Sprintf("file { '%s': ensure => file, content => %q, mode => '0640' }\n", w.path(i), w.text(i))
		})}
}

// cfenginePolicy uses no library, so that nothing but the work is parsed.
func cfenginePolicy(w peerWork) map[string]string {
	return map[string]string{"main.cf": "body common control { bundlesequence => { \"main\" }; }\n" +
		"body perms only(mode) { mode => \"$(mode)\"; }\n" +
		"body package_method present {\n  package_changes => \"individual\";\n  package_list_command => \"/usr/bin/dpkg -l\";\n  package_list_name_regex => \"ii\\s+([^\\s:]+).*\";\n" +
		"  package_list_version_regex => \"ii\\s+[^\\s]+\\s+([^\\s]+).*\";\n  package_installed_regex => \".*\";\n  package_name_convention => \"$(name)\";\n" +
		"  package_add_command => \"/usr/bin/apt-get -y install\";\n  package_delete_command => \"/bin/false\";\n  package_list_update_ifelapsed => \"0\";\n}\n" +
		"bundle agent main\n{\n  packages:\n    \"coreutils\" package_policy => \"add\", package_method => present;\n  users:\n    \"" + w.user() + "\" policy => \"present\";\n  files:\n    \"/etc/bench-cfengine/.\" create => \"true\";\n" +
		w.each(func(i int) string {
			return fmt.Sprintf("    \"%s\" create => \"true\", content => \"%s\", perms => only(\"0640\");\n", w.path(i), w.text(i))
		}) + "}\n"}
}

// bareWork is the floor: a loop that looks, and writes what differs, without a sync, a user or a package.
func bareWork(w peerWork) error {
	if err := os.MkdirAll("/etc/bench-bare", 0o755); err != nil {
		return err
	}
	for i := range w.files {
		data, err := os.ReadFile(w.path(i))
		if err == nil && string(data) == w.text(i) {
			continue
		}
		if err := writeBeside(w.path(i), []byte(w.text(i)), false); err != nil {
			return err
		}
		if err := os.Chmod(w.path(i), 0o640); err != nil {
			return err
		}
	}
	return nil
}
