// Package ssh is a machine on the other side of an SSH connection: it delivers the program there, and where that is refused it
// is the executor's Host itself, state by state over SFTP (draft-ietf-secsh-filexfer-02) and the commands of a POSIX shell.
//
// Whatever the other side says is limited in size and in time.
package ssh
