# ccinit for amd64: runs scripts of system calls. See script.go for the layout and ccinit_arm64.S for its twin.
#
# The whole program: an ELF header, three program headers, code. No stack, no relocation, no section.
# The ELF file is the text itself, header included; build.sh makes it.
#
#	rbx  the current op        rbp  the end of the ops

	.set TEXT,   0x200000
	.set AREA,   0x1000000          # must equal areaBase in script.go
	.set AREALEN, 0x400000

	.set MSGHDR, AREA               # struct msghdr, 56 bytes
	.set IOV,    AREA + 0x40        # struct iovec
	.set REPORT, AREA + 0x50        # { tag, errno }
	.set CTRL,   AREA + 0x100       # received descriptors: struct cmsghdr, then ints
	.set CTRLLEN, 0x500
	.set MSG,    AREA + 0x1000      # { count, magic, 0, 0 }, ops, data
	.set MSGLEN, 0x3f000
	.set MAGIC,  0x31696363         # "cci1"

	.set SYS_WRITE, 1
	.set SYS_RECVMSG, 47
	.set SYS_WAIT4, 61
	.set SYS_KILL, 62
	.set SYS_RT_SIGTIMEDWAIT, 128
	.set SYS_EXIT_GROUP, 231

	.set NEVER, 204                 # exit code: no program was executed; must equal NeverStarted in boot.go

	.set JN, 1                      # op flags: what a negative, zero, positive result does
	.set JZ, 2
	.set JP, 4
	.set FZ, 8                      # zero fails
	.set IG, 16                     # a negative result does not matter

	.text
	.globl _start
ehdr:
	.byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
	.quad 0
	.short 2, 62                    # ET_EXEC, EM_X86_64
	.long 1
	.quad _start
	.quad phdr - ehdr
	.quad 0
	.long 0
	.short 64, 56, 3, 64, 0, 0
phdr:
	.long 1, 5                      # PT_LOAD, R+X: this file
	.quad 0, TEXT, TEXT, end - ehdr, end - ehdr, 0x1000
	.long 1, 6                      # PT_LOAD, R+W: the area, all zero
	.quad 0, AREA, AREA, 0, AREALEN, 0x1000
	.long 0x6474e551, 6             # PT_GNU_STACK: not executable
	.quad 0, 0, 0, 0, 0, 16

_start:
next:	movl $MSGHDR, %esi              # recvmsg(3, MSGHDR, MSG_CMSG_CLOEXEC)
	movl $IOV, 16(%rsi)
	movl $1, 24(%rsi)
	movl $CTRL, 32(%rsi)
	movl $CTRLLEN, 40(%rsi)
	movl $MSG, 0x40(%rsi)
	movl $MSGLEN, 0x48(%rsi)
	movl $3, %edi
	movl $0x40000000, %edx
	movl $SYS_RECVMSG, %eax
	syscall
	cmpq $16, %rax                  # end of file, an error, or less than a header
	jl die
	testb $0x28, MSGHDR + 48        # MSG_TRUNC, MSG_CTRUNC
	jnz die
	movl $MSG, %ebx
	cmpl $MAGIC, 4(%rbx)
	jne die
	movl (%rbx), %ecx
	shlq $6, %rcx
	leaq 16(%rbx,%rcx), %rbp
	addq %rbx, %rax
	cmpq %rax, %rbp
	ja die
	addq $16, %rbx

run:	cmpq %rbp, %rbx
	jae next
	movq 16(%rbx), %rdi
	movq 24(%rbx), %rsi
	movq 32(%rbx), %rdx
	movq 40(%rbx), %r10
	movq 48(%rbx), %r8
	movq 56(%rbx), %r9
	movb 3(%rbx), %cl
	.macro indirect bit, reg
	testb $\bit, %cl
	jz 1f
	movslq (\reg), \reg
1:
	.endm
	indirect 1, %rdi
	indirect 2, %rsi
	indirect 4, %rdx
	indirect 8, %r10
	indirect 16, %r8
	indirect 32, %r9
	movzwl (%rbx), %eax
	cmpw $0xffff, %ax
	je init
	syscall
	movl 4(%rbx), %ecx
	movl %eax, (%rcx)
	movb 2(%rbx), %cl
	testq %rax, %rax
	js neg
	jz zero
	testb $JP, %cl
	jnz skip
step:	addq $64, %rbx
	jmp run
zero:	testb $FZ, %cl
	jnz fail
	testb $JZ, %cl
	jz step
skip:	movl 12(%rbx), %ecx             # forward only: a script always ends
	shlq $6, %rcx
	addq %rcx, %rbx
	jmp step
neg:	testb $JN, %cl
	jnz skip
	testb $IG, %cl
	jnz step
fail:	negl %eax                       # write(3, { tag, errno }, 8); exit_group(NEVER)
	movl 8(%rbx), %ecx
	movl $REPORT, %esi
	movl %ecx, (%rsi)
	movl %eax, 4(%rsi)
	movl $3, %edi
	movl $8, %edx
	movl $SYS_WRITE, %eax
	syscall
die:	movl $NEVER, %edi
exit:	movl $SYS_EXIT_GROUP, %eax
	syscall
	hlt

init:	movl %edi, %ebp                 # stay as pid 1 with the child %ebp; all signals are blocked
wait:	movl $REPORT, %edi              # rt_sigtimedwait(all, 0, 0, 8)
	movq $-1, (%rdi)
	xorl %esi, %esi
	xorl %edx, %edx
	movl $8, %r10d
	movl $SYS_RT_SIGTIMEDWAIT, %eax
	syscall
	cmpl $17, %eax                  # SIGCHLD
	je reap
	cmpl $-4, %eax                  # EINTR
	je wait
	testl %eax, %eax
	js die
	movl %eax, %esi                 # kill(child, signal)
	movl %ebp, %edi
	movl $SYS_KILL, %eax
	syscall
	jmp wait
reap:	movl $-1, %edi                  # wait4(-1, REPORT, WNOHANG, 0)
	movl $REPORT, %esi
	movl $1, %edx
	xorl %r10d, %r10d
	movl $SYS_WAIT4, %eax
	syscall
	testl %eax, %eax
	jle wait
	cmpl %ebp, %eax
	jne reap
	movl REPORT, %edi
	testb $0x7f, %dil
	jz 1f
	andl $0x7f, %edi                # ended by a signal: 128 + n
	addl $128, %edi
	jmp exit
1:	movzbl REPORT + 1, %edi
	jmp exit
end:
