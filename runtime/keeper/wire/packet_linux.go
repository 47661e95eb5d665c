package wire

import "golang.org/x/sys/unix"

// Send sends one packet with descriptors. flags are those of sendmsg(2); a signal never shows.
func Send(fd int, p []byte, files []int, flags int) error {
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	for {
		err := unix.Sendmsg(fd, p, oob, nil, flags|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// Recv receives one packet into p and the descriptors that came with it, which are close-on-exec and the
// caller's to close, whatever err says. n is 0 at the end of the connection. A packet longer than p, or with more descriptors
// than MaxFiles, is ErrMalformed.
func Recv(fd int, p []byte, flags int) (n int, files []int, err error) {
	var space [512]byte // more than CmsgSpace(4*MaxFiles)
	var on, got int
	for {
		n, on, got, _, err = unix.Recvmsg(fd, p, space[:], flags|unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, err
	}
	files, err = rights(space[:on])
	if err == nil && (got&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) > MaxFiles) {
		err = ErrMalformed
	}
	return n, files, err
}

func rights(oob []byte) (files []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, ErrMalformed
	}
	for i := range list {
		fds, err := unix.ParseUnixRights(&list[i])
		if err != nil {
			return files, ErrMalformed
		}
		files = append(files, fds...)
	}
	return files, nil
}

// Close closes descriptors.
func Close(files []int) {
	for _, fd := range files {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
