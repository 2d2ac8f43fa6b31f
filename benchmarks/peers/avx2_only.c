/* Hides AVX-512 and AMX from a process, by CPUID faulting (Linux on Intel): LD_PRELOAD this library.

   AVX2_ONLY names, between commas, what the command line of a process must hold one of: other processes that
   inherit the variables (Java has a SIGSEGV handler of its own) are left alone. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
static void fault(int on) { syscall(SYS_arch_prctl, ARCH_SET_CPUID, on ? 0 : 1); }
static void handler(int sig, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned char *ip = (unsigned char *)regs[REG_RIP];
    if (ip[0] != 0x0f || ip[1] != 0xa2) { signal(SIGSEGV, SIG_DFL); return; }
    unsigned a = regs[REG_RAX], c = regs[REG_RCX], b, d, leaf = a, sub = c;
    fault(0);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    fault(1);
    if (leaf == 7 && sub == 0) {
        b &= ~(1u<<16 | 1u<<17 | 1u<<21 | 1u<<26 | 1u<<27 | 1u<<28 | 1u<<30 | 1u<<31);
        c &= ~(1u<<1 | 1u<<6 | 1u<<11 | 1u<<12 | 1u<<14);
        d &= ~(1u<<2 | 1u<<3 | 1u<<8 | 1u<<22 | 1u<<23 | 1u<<24 | 1u<<25);
    }
    if (leaf == 7 && sub == 1) { a &= ~(1u<<4 | 1u<<5 | 1u<<21 | 1u<<23); d &= ~(1u<<4 | 1u<<5 | 1u<<10); }
    regs[REG_RAX] = a; regs[REG_RBX] = b; regs[REG_RCX] = c; regs[REG_RDX] = d; regs[REG_RIP] += 2;
}
__attribute__((constructor)) static void begin(void) {
    char line[4096] = {0}; FILE *f = fopen("/proc/self/cmdline", "r");
    if (!f) return;
    size_t n = fread(line, 1, sizeof line - 1, f); fclose(f);
    for (size_t i = 0; i < n; i++) if (!line[i]) line[i] = ' ';
    char names[256] = {0};
    strncpy(names, getenv("AVX2_ONLY") ? getenv("AVX2_ONLY") : "", sizeof names - 1);
    char *name = strtok(names, ",");
    while (name && !strstr(line, name)) name = strtok(0, ",");
    if (!name) return;
    struct sigaction action = {0}; action.sa_sigaction = handler; action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, 0);
    fault(1);
}
