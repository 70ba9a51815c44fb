package lab_test

import (
	"fmt"
	"strings"
	"testing"

	"shoal/simulation/lab"
)

// reals are all of examples/real.
var reals = []real{
	{
		name: "users", fast: true, packages: []string{"sudo"},
		arrange: "useradd -m dan; echo kept >/home/dan/work",
		hosts:   []machine{{"web-1", []string{"role=web"}}, {"db-1", []string{"role=db"}}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			web, db := hosts[0], hosts[1]
			says(t, web, "id ann", "uid=3101(ann) gid=3001(ops) groups=3001(ops),3002(web)")
			says(t, web, "id bob; getent passwd bob", "gid=3002(web)", "/home/bob:/bin/bash")
			says(t, web, "cat ~bob/.ssh/authorized_keys; stat -c '%U %a' ~bob/.ssh/authorized_keys", " bob\n", " bob-at-home\n", "bob 600")
			says(t, web, "cat ~deploy/.ssh/authorized_keys", "no-agent-forwarding,no-port-forwarding,no-X11-forwarding,no-pty ssh-ed25519", " bob-at-home\n")
			says(t, web, "sudo -l -U bob", "(root) NOPASSWD: /usr/bin/systemctl reload nginx")
			says(t, web, "visudo -c", "/etc/sudoers.d/team-ops: parsed OK", "/etc/sudoers.d/team-web: parsed OK")
			says(t, web, "id cem || true", "no such user") // of the team data, which works on db alone
			says(t, db, "id cem; getent passwd cem", "uid=3103(cem) gid=3003(data)", ":/bin/sh")
			says(t, db, "id bob || true; id deploy || true; ls /etc/sudoers.d", "‘bob’: no such user", "‘deploy’: no such user", "team-ops")
			for _, h := range hosts {
				says(t, h, "id dan || true; cat /home/dan/work", "no such user", "kept")
			}
			// A key that somebody adds by hand goes with the next run, and who is taken out of a team loses the account.
			must(t, web, "tail -1 ~ann/.ssh/authorized_keys >>~bob/.ssh/authorized_keys; sed -i '/^  bob:/,/team: web/s/team: web/team: data/' /root/tree/variables/people.yaml")
			apply(t, web, "/root/tree", machine{"web-1", []string{"role=web"}})
			says(t, web, "id bob || true; ls -d /home/bob", "no such user", "/home/bob")
			must(t, web, "sed -i '/^  bob:/,/team: data/s/team: data/team: web/' /root/tree/variables/people.yaml")
			apply(t, web, "/root/tree", machine{"web-1", []string{"role=web"}})
			says(t, web, "grep -c . ~bob/.ssh/authorized_keys", "2\n")
		},
	},
	{
		name: "hardening", fast: true, packages: []string{"cracklib-runtime", "libpam-pwquality", "sudo"},
		hosts: []machine{{"web-1", nil}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			h := hosts[0]
			// The network's are of the host's own kernel namespace; the others are copies of the lab.
			says(t, h, "sysctl -n net.ipv4.conf.all.send_redirects net.ipv4.conf.all.log_martians net.ipv4.tcp_rfc1337 net.ipv6.conf.all.accept_ra", "0\n1\n1\n0\n")
			says(t, h, "sysctl -n kernel.kptr_restrict kernel.dmesg_restrict fs.suid_dumpable", "2\n1\n0\n")
			says(t, h, "sysctl --system 2>&1 | grep 99-zz-net.ipv4.tcp_rfc1337", "99-zz-net.ipv4.tcp_rfc1337.conf")
			says(t, h, "cat /etc/modprobe.d/blacklist-cramfs.conf; ! command -v modprobe >/dev/null || modprobe --showconfig | grep '^install cramfs '", "install cramfs /bin/false")
			says(t, h, "stat -c '%n %a %U:%G' /etc/passwd /etc/shadow /etc/crontab /etc/cron.daily", "/etc/passwd 644 root:root", "/etc/shadow 640 root:shadow", "/etc/crontab 600 root:root", "/etc/cron.daily 700 root:root")
			says(t, h, probe(`chage -l probe; stat -c %a /home/probe; grep ^probe: /etc/shadow`), ": 365\n", ": 7\n", "750\n", ":30:")
			// PAM itself: a weak password is refused, a good one taken, and five failures lock for a while, also for the right one.
			says(t, h, probe("echo probe:Abc123 | chpasswd 2>&1 || true"), "BAD PASSWORD")
			says(t, h, probe(`echo 'probe:Vq7#kfp2-Wzt9.Lm' | chpasswd
# All in one login: each su by root counts as a success, which forgets the failures.
su -s /bin/sh probe -c 'ask() { sudo -k; echo "$1" | sudo -S -l 2>&1 || true; }
ask "Vq7#kfp2-Wzt9.Lm"
for i in 1 2 3 4 5; do ask wrong; done; echo; echo "== locked"; ask "Vq7#kfp2-Wzt9.Lm"'
faillock --user probe; faillock --user probe --reset; echo "== again"
su -s /bin/sh probe -c 'echo "Vq7#kfp2-Wzt9.Lm" | sudo -S -l 2>&1' || true`),
				"may not run sudo", "== locked\nSorry, try again", "== again\n[sudo] password for probe: Sorry, user probe may not run sudo")
			says(t, h, "cat /etc/pam.d/common-auth", "pam_faillock.so preauth", "pam_faillock.so authfail")
			says(t, h, "grep -n pam_wheel.so /etc/pam.d/su; getent group sugroup", "use_uid group=sugroup", "sugroup:x:")
			says(t, h, "su -s /bin/sh nobody -c 'su -c id' 2>&1 </dev/null || true", "ermission denied")
			says(t, h, "bash -lc 'umask; ulimit -Hc; echo $TMOUT'", "0027\n", "900\n")
			says(t, h, "visudo -c; cat /etc/issue", "60-hardening: parsed OK", "Authorized use only")
			rulesAtLeast(t, h, 60)
		},
	},
	{
		name: "sshd", packages: []string{"openssh-server"},
		hosts: []machine{{"bastion-1", []string{"role=bastion"}}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			h := hosts[0]
			says(t, h, "sshd -T", "permitrootlogin without-password", "passwordauthentication no", "maxauthtries 3", "port 2222", "allowtcpforwarding local",
				"ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com", "loglevel VERBOSE")
			must(t, h, "! awk '$1 !~ /^#/ && $5 < 3071' /etc/ssh/moduli | grep -q .")
			// A real login by key, and none by password.
			must(t, h, "install -d -m 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/probe; cp /root/.ssh/probe.pub /root/.ssh/authorized_keys")
			login := "ssh -i /root/.ssh/probe -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p 2222 "
			says(t, h, login+h.Addr+" 'echo in as $USER' 2>&1", "in as root", "Authorized use only")
			says(t, h, login+"-o PubkeyAuthentication=no "+h.Addr+" true 2>&1 || true", "Permission denied (publickey)")
			must(t, h, "rm -r /root/.ssh")
		},
	},
	{
		name: "chrony", packages: []string{"chrony", "systemd-timesyncd"},
		// The version that the machine has may be one that no repository has any more: then nothing could put it back.
		// And the clock is that of the machine, which is nothing to play with: the daemon is told to leave it alone.
		arrange: `DEBIAN_FRONTEND=noninteractive apt-get install -qq -y systemd-timesyncd >/dev/null
mkdir -p /etc/systemd/system/chrony.service.d; printf '[Service]\nExecStart=\nExecStart=!/usr/sbin/chronyd -x -F 1\n' >/etc/systemd/system/chrony.service.d/lab.conf`,
		hosts: []machine{{"ntp-1", []string{"role=ntp"}}, {"web-1", nil}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			server, client := hosts[0], hosts[1]
			says(t, server, "chronyd -p -f /etc/chrony/chrony.conf", "allow 10.0.0.0/8", "local stratum 10 orphan")
			must(t, client, "! grep -q '^allow' /etc/chrony/chrony.conf")
			for _, h := range hosts {
				says(t, h, "systemctl is-enabled chrony; readlink /etc/localtime; dpkg-query -W -f '${db:Status-Abbrev}' systemd-timesyncd", "enabled", "Etc/UTC", "rc")
			}
			// One machine asks the other, without setting anything.
			says(t, client, "chronyd -Q -t 30 'server "+server.Addr+" iburst' 'pidfile /run/query.pid' 'cmdport 0' 2>&1", "System clock wrong by")
			says(t, server, "chronyc -n clients", client.Addr)
		},
	},
	{
		name: "nginx", packages: []string{"nginx-light"},
		hosts: []machine{{"web-1", []string{"role=web"}}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			h := hosts[0]
			site := "curl -sS --resolve www.example.test:443:127.0.0.1 --resolve www.example.test:80:127.0.0.1 --resolve api2.example.test:80:127.0.0.1 --resolve old.example.test:80:127.0.0.1 --cacert /etc/nginx/tls/www.example.test.crt "
			says(t, h, site+"https://www.example.test/", "<h1>It works</h1>")
			says(t, h, site+"https://www.example.test/missing", "<h1>Not here</h1>")
			// The workers from before the reload answer for a moment yet.
			eventually(t, h, site+"-I http://www.example.test/x | grep -q 301")
			says(t, h, site+"-I http://www.example.test/x", "301", "https://www.example.test/x")
			says(t, h, site+"-I http://old.example.test/y", "301", "https://www.example.test/y")
			says(t, h, site+"-I https://www.example.test/", "Server: nginx\r")
			must(t, h, "mkdir /run/app && echo from the application >/run/app/index.html && systemd-run --unit=app python3 -m http.server -d /run/app -b 127.0.0.1 8081")
			eventually(t, h, site+"http://api2.example.test/ | grep 'from the application'")
		},
	},
	{
		name: "postgresql", packages: []string{"postgresql-15"},
		hosts: []machine{{"db-1", []string{"role=db"}}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			h := hosts[0]
			psql := "PGPASSWORD=correct-horse-battery psql -h 127.0.0.1 -U shop -d shop -tAX "
			says(t, h, psql+"-c 'select current_user'", "shop")
			says(t, h, psql+"-c \"select similarity('word','words') > 0.5\"", "t") // the extension
			says(t, h, "PGPASSWORD=wrong psql -h 127.0.0.1 -U shop -d shop -c 'select 1' 2>&1 || true", "password authentication failed")
			says(t, h, psql+"-c 'show work_mem' -c 'show max_connections'", "8MB", "200")
			says(t, h, "PGPASSWORD=staple-report psql -h 127.0.0.1 -U report -d shop -tAX -c \"select pg_has_role('pg_read_all_data','member')\"", "t")
			// The ledger keeps what an undo needs, for root alone.
			must(t, h, "! find /var/lib/shoal -type f -perm /077 -exec grep -l correct-horse-battery {} + | grep .")
		},
	},
	{
		name: "haproxy", packages: []string{"haproxy"},
		hosts: []machine{{"lb-1", nil}, {"web-1", nil}, {"web-2", nil}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			lb := hosts[0]
			// Both answer, the heavier one more often; web-3 is in another data centre.
			eventually(t, lb, `for i in $(seq 30); do curl -sf http://127.0.0.1/; done | sort | uniq -c | awk '{n[$2]=$1} END {exit !(n["web-1"] > n["web-2"] && n["web-2"] > 0)}'`)
			must(t, lb, "! grep -q web-3 /etc/haproxy/haproxy.cfg")
			must(t, hosts[1], "systemctl stop web")
			eventually(t, lb, `curl -s 'http://127.0.0.1:8404/stats;csv' | grep '^web,web-1,' | grep -q DOWN`)
			says(t, lb, "for i in 1 2 3 4; do curl -sf http://127.0.0.1/; done", "web-2\nweb-2\nweb-2\nweb-2\n")
			must(t, hosts[1], "systemctl start web")
		},
	},
	{
		name: "prometheus", packages: []string{"curl", "prometheus", "prometheus-node-exporter"},
		// Its user stays when the package goes: Debian means it to.
		arrange: "adduser --quiet --system --group --no-create-home --home /var/lib/prometheus prometheus",
		hosts:   []machine{{"monitor-1", nil}, {"web-1", nil}},
		effect: func(t *testing.T, hosts []*lab.Host) {
			h := hosts[0]
			eventually(t, h, "up=$(curl -sf 'http://127.0.0.1:9090/api/v1/query?query=up'); echo \"$up\"; echo \"$up\" | grep -o '\"node\":\"web-1\",\"role\":\"web\"},\"value\":\\[[0-9.]*,\"1\"\\]'")
			says(t, h, "curl -sf http://127.0.0.1:9090/api/v1/rules", `"name":"NodeDown"`, `"name":"DiskFull"`, `"name":"ClockOff"`, `{{ $labels.instance }} does not answer`)
			says(t, h, "curl -sf http://"+hosts[1].Addr+":9100/metrics", "node_systemd_unit_state", "node_processes_threads")
			// db-1 is in the inventory and not there: the alert is on its way.
			eventually(t, h, "curl -sf http://127.0.0.1:9090/api/v1/alerts | grep -o '\"alertname\":\"NodeDown\"'")
		},
	},
}

// probe runs a shell with a user of that name, of whom nothing is left: it works on a copy of /etc.
func probe(script string) string {
	return "cat >/run/probe.sh <<'END'\n" + script + "\nEND\n" + `unshare -m sh -ec 'rm -rf /run/probe /home/probe; mkdir -p /run/probe/upper /run/probe/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/probe/upper,workdir=/run/probe/work /etc
useradd -m probe 2>/dev/null; . /run/probe.sh; rm -r /home/probe'`
}

// says runs a shell on a host and looks for texts in what it prints.
func says(t *testing.T, h *lab.Host, script string, want ...string) {
	t.Helper()
	out := must(t, h, script)
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("%s: %s: %q is not in\n%s", h.Name, script, text, out)
		}
	}
}

// rulesAtLeast counts the states of the report of the last run.
func rulesAtLeast(t *testing.T, h *lab.Host, least int) {
	t.Helper()
	says(t, h, fmt.Sprintf("n=$(shoal plan /root/tree --json | grep -o '\"id\": *\"hardening/' | wc -l); test $n -ge %d && echo enough", least), "enough")
}
