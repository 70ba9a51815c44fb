// Package secrets says what a sealed secret is: its name, whom it is for, how it lies in the tree of a revision, who may be
// handed its key, and when it is exposed. It is pure; agebox, below it, does the encryption.
//
// A secret has a key pair of its own, made anew each time it is set. Its value is encrypted to the public half, which stands in
// the Statement; the private half, its Key, is wrapped for each node that may have it. All of this is a file of the environment's
// tree, below Folder, so that the publisher's signature of the revision and the certificate of the head are those of the secret
// too: there is no other history to keep, and none to replay.
//
//	publisher ── Statement{env, name, on, public half, value encrypted to it}
//	          └─ Keys: Key{statement, private half}, wrapped for the nodes of then
//	granted node that came later ── asks a holder ──► holder: does my roster's grant match the statement's selector?
//	           ▲                                                │ yes
//	           └── Key, wrapped for the asker alone ◄───────────┘
//
// Whoever gets a Key checks it against the Statement: a holder that lies can only deny.
package secrets
