// ccinit for arm64: the twin of ccinit_amd64.S, same layout, same order.
//
//	x19  the current op        x20  the end of the ops

	.set TEXT,   0x200000
	.set AREA,   0x1000000
	.set AREALEN, 0x400000

	.set IOV,    0x40
	.set REPORT, 0x50
	.set CTRL,   0x100
	.set CTRLLEN, 0x500
	.set MSG,    0x1000
	.set MSGLEN, 0x3f000

	.set NEVER, 204

	.set SYS_WRITE, 64
	.set SYS_EXIT_GROUP, 94
	.set SYS_KILL, 129
	.set SYS_RT_SIGTIMEDWAIT, 137
	.set SYS_RECVMSG, 212
	.set SYS_WAIT4, 260

	.text
	.globl _start
ehdr:
	.byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
	.quad 0
	.short 2, 183                   // ET_EXEC, EM_AARCH64
	.long 1
	.quad TEXT + (_start - ehdr)
	.quad phdr - ehdr
	.quad 0
	.long 0
	.short 64, 56, 3, 64, 0, 0
phdr:
	.long 1, 5
	.quad 0, TEXT, TEXT, end - ehdr, end - ehdr, 0x10000
	.long 1, 6
	.quad 0, AREA, AREA, 0, AREALEN, 0x10000
	.long 0x6474e551, 6
	.quad 0, 0, 0, 0, 0, 16

_start:
next:	mov x21, #AREA
	add x10, x21, #IOV
	str x10, [x21, #16]
	mov x10, #1
	str x10, [x21, #24]
	add x10, x21, #CTRL
	str x10, [x21, #32]
	mov x10, #CTRLLEN
	str x10, [x21, #40]
	add x19, x21, #MSG
	str x19, [x21, #IOV]
	mov x10, #MSGLEN
	str x10, [x21, #IOV + 8]
	mov x0, #3
	mov x1, x21
	mov x2, #0x40000000
	mov x8, #SYS_RECVMSG
	svc #0
	cmp x0, #16
	b.lt die
	ldr w10, [x21, #48]
	mov w11, #0x28
	tst w10, w11
	b.ne die
	ldr w10, [x19, #4]
	mov w11, #0x6363
	movk w11, #0x3169, lsl #16
	cmp w10, w11
	b.ne die
	ldr w10, [x19]
	add x20, x19, #16
	add x20, x20, x10, lsl #6
	add x10, x19, x0
	cmp x20, x10
	b.hi die
	add x19, x19, #16

run:	cmp x19, x20
	b.hs next
	ldp x0, x1, [x19, #16]
	ldp x2, x3, [x19, #32]
	ldp x4, x5, [x19, #48]
	ldrb w10, [x19, #3]
	.macro indirect bit, reg
	tbz w10, #\bit, 1f
	ldrsw \reg, [\reg]
1:
	.endm
	indirect 0, x0
	indirect 1, x1
	indirect 2, x2
	indirect 3, x3
	indirect 4, x4
	indirect 5, x5
	ldrh w8, [x19]
	mov w10, #0xffff
	cmp w8, w10
	b.eq init
	svc #0
	ldr w10, [x19, #4]
	str w0, [x10]
	ldrb w10, [x19, #2]
	cmp x0, #0
	b.lt neg
	b.eq zero
	tbnz w10, #2, skip              // JP
step:	add x19, x19, #64
	b run
zero:	tbnz w10, #3, fail              // FZ
	tbz w10, #1, step               // JZ
skip:	ldr w10, [x19, #12]
	add x19, x19, x10, lsl #6
	b step
neg:	tbnz w10, #0, skip              // JN
	tbnz w10, #4, step              // IG
fail:	neg w0, w0
	ldr w10, [x19, #8]
	add x1, x21, #REPORT
	stp w10, w0, [x1]
	mov x0, #3
	mov x2, #8
	mov x8, #SYS_WRITE
	svc #0
die:	mov x0, #NEVER
exit:	mov x8, #SYS_EXIT_GROUP
	svc #0
	brk #0

init:	mov w20, w0
	add x19, x21, #REPORT
wait:	mov x10, #-1
	str x10, [x19]
	mov x0, x19
	mov x1, #0
	mov x2, #0
	mov x3, #8
	mov x8, #SYS_RT_SIGTIMEDWAIT
	svc #0
	cmp w0, #17
	b.eq reap
	cmn w0, #4
	b.eq wait
	cmp w0, #0
	b.lt die
	mov w1, w0
	mov w0, w20
	mov x8, #SYS_KILL
	svc #0
	b wait
reap:	mov x0, #-1
	mov x1, x19
	mov x2, #1
	mov x3, #0
	mov x8, #SYS_WAIT4
	svc #0
	cmp w0, #0
	b.le wait
	cmp w0, w20
	b.ne reap
	ldr w10, [x19]
	ands w11, w10, #0x7f
	b.eq 1f
	add w0, w11, #128
	b exit
1:	ubfx w0, w10, #8, #8
	b exit
	.balign 8
end:
