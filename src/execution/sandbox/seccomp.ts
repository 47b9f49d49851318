/**
 * The system calls that session code is refused, as a table; and the filter program made of it, for x86-64 and arm64.
 *
 * Everything else is allowed: the box has no network, no devices and no foreign files, and what is refused here are
 * the ways to other namespaces, to other processes' memory, to kernel code that is seldom run and often broken, and
 * to memory that no limit counts. A refused call fails with an ordinary errno, so that programs can go on.
 */

type Architecture = "x64" | "arm64";

/** Errno values that are the same on both. */
const EPERM = 1;
const EACCES = 13;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

interface Rule {
  /** The call's number by architecture; null where it has none. */
  readonly x64: number | null;
  readonly arm64: number | null;
  readonly errno: number;
  /** Refused only when one of these says so. */
  readonly when?: readonly Condition[];
}

type Condition =
  /** Some of the bits of an argument are set. */
  | { readonly argument: number; readonly anyOf: number }
  /** The argument is one of these. */
  | { readonly argument: number; readonly oneOf: readonly number[] }
  /** The argument, or the upper half of its 64 bits, is none of these. */
  | { readonly argument: number; readonly upper?: true; readonly noneOf: readonly number[] };

const deny = (x64: number | null, arm64: number | null, errno = EPERM): Rule => ({ x64, arm64, errno });

/** New user, mount, pid, network, IPC, host name and cgroup namespaces. */
const NAMESPACES = 0x7e02_0000;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCKETS: readonly Condition[] = [{ argument: 0, noneOf: [AF_UNIX, AF_INET, AF_INET6] }];
/** Puts characters into a terminal's input. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

export const REFUSED: Readonly<Record<string, Rule>> = {
  // Mounts and roots.
  mount: deny(165, 40),
  umount2: deny(166, 39),
  pivot_root: deny(155, 41),
  chroot: deny(161, 51),
  open_tree: deny(428, 428),
  move_mount: deny(429, 429),
  fsopen: deny(430, 430),
  fsconfig: deny(431, 431),
  fsmount: deny(432, 432),
  fspick: deny(433, 433),
  mount_setattr: deny(442, 442),
  open_tree_attr: deny(467, 467),
  quotactl: deny(179, 60),
  quotactl_fd: deny(443, 443),
  swapon: deny(167, 224),
  swapoff: deny(168, 225),
  // Namespaces.
  unshare: deny(272, 97),
  setns: deny(308, 268),
  clone: { x64: 56, arm64: 220, errno: EPERM, when: [{ argument: 0, anyOf: NAMESPACES }] },
  // Its flags lie in memory, where no filter can look: programs fall back to clone.
  clone3: deny(435, 435, ENOSYS),
  // Other processes.
  ptrace: deny(101, 117),
  process_vm_readv: deny(310, 270),
  process_vm_writev: deny(311, 271),
  process_madvise: deny(440, 440),
  kcmp: deny(312, 272),
  pidfd_getfd: deny(438, 438),
  // Parts of the kernel that session code has no use for.
  bpf: deny(321, 280),
  perf_event_open: deny(298, 241),
  userfaultfd: deny(323, 282),
  io_uring_setup: deny(425, 425),
  io_uring_enter: deny(426, 426),
  io_uring_register: deny(427, 427),
  add_key: deny(248, 217),
  request_key: deny(249, 218),
  keyctl: deny(250, 219),
  fanotify_init: deny(300, 262),
  open_by_handle_at: deny(304, 265),
  name_to_handle_at: deny(303, 264),
  init_module: deny(175, 105),
  finit_module: deny(313, 273),
  delete_module: deny(176, 106),
  kexec_load: deny(246, 104),
  kexec_file_load: deny(320, 294),
  reboot: deny(169, 142),
  syslog: deny(103, 116),
  acct: deny(163, 89),
  settimeofday: deny(164, 170),
  clock_settime: deny(227, 112),
  clock_adjtime: deny(305, 266),
  adjtimex: deny(159, 171),
  iopl: deny(172, null),
  ioperm: deny(173, null),
  modify_ldt: deny(154, null),
  lookup_dcookie: deny(212, 18),
  vhangup: deny(153, 58),
  // Memory that the watchdog cannot count.
  memfd_create: deny(319, 279),
  memfd_secret: deny(447, 447),
  shmget: deny(29, 194),
  shmat: deny(30, 196),
  shmctl: deny(31, 195),
  semget: deny(64, 190),
  semop: deny(65, 193),
  semtimedop: deny(220, 192),
  semctl: deny(66, 191),
  msgget: deny(68, 186),
  msgsnd: deny(69, 189),
  msgrcv: deny(70, 188),
  msgctl: deny(71, 187),
  // Terminals and sockets.
  ioctl: { x64: 16, arm64: 29, errno: EPERM, when: [{ argument: 1, oneOf: [TIOCSTI, TIOCLINUX] }] },
  socket: { x64: 41, arm64: 198, errno: EAFNOSUPPORT, when: SOCKETS },
  socketpair: { x64: 53, arm64: 199, errno: EAFNOSUPPORT, when: SOCKETS },
};

const AUDIT_ARCH: Readonly<Record<Architecture, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };
/** Calls of x86-64's 32-bit-pointer variant: the same code under other numbers. */
const X32_BIT = 0x4000_0000;

const RETURN_ALLOW = 0x7fff_0000;
const RETURN_ERRNO = 0x0005_0000;
const RETURN_KILL = 0x8000_0000;

/** Instructions of classic BPF: struct sock_filter. */
const LOAD = 0x20;
const JUMP = 0x05;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

/** Where struct seccomp_data has things. The low halves of arguments: both architectures are little-endian. */
const AT_NUMBER = 0;
const AT_ARCHITECTURE = 4;
const UPPER = 4;
const atArgument = (index: number): number => 16 + 8 * index;

interface Instruction {
  readonly code: number;
  readonly jumpTrue: number;
  readonly jumpFalse: number;
  readonly value: number;
}

const instruction = (code: number, value: number, jumpTrue = 0, jumpFalse = 0): Instruction => ({
  code,
  jumpTrue,
  jumpFalse,
  value,
});

/** Every process but the one that calls. */
const OTHERS: readonly Condition[] = [{ argument: 0, noneOf: [0] }];
/** The same, and more than one process: where 0 says what kind the second argument is. */
const OTHERS_OR_MANY = (process: number): readonly Condition[] => [
  { argument: 0, noneOf: [process] },
  { argument: 1, noneOf: [0] },
];

/** A path is named: without one it is the descriptor's own file. */
const BY_PATH: readonly Condition[] = [
  { argument: 1, noneOf: [0] },
  { argument: 1, upper: true, noneOf: [0] },
];

/**
 * Where the network, the processes and the names of files are not a box's own: there are no sockets but pairs; limits,
 * processors and priorities are set of oneself only, since the user's other processes would be within reach; and what
 * Landlock does not know of files, their modes, owners, times and attributes, is changed of opened ones only.
 */
const SHARED_MACHINE: Readonly<Record<string, Rule>> = {
  ...REFUSED,
  socket: deny(41, 198, EACCES),
  prlimit64: { x64: 302, arm64: 261, errno: EPERM, when: OTHERS },
  sched_setaffinity: { x64: 203, arm64: 122, errno: EPERM, when: OTHERS },
  sched_setscheduler: { x64: 144, arm64: 119, errno: EPERM, when: OTHERS },
  sched_setparam: { x64: 142, arm64: 118, errno: EPERM, when: OTHERS },
  sched_setattr: { x64: 314, arm64: 274, errno: EPERM, when: OTHERS },
  setpriority: { x64: 141, arm64: 140, errno: EPERM, when: OTHERS_OR_MANY(0) },
  chmod: deny(90, null),
  fchmodat: deny(268, 53),
  fchmodat2: deny(452, 452),
  chown: deny(92, null),
  lchown: deny(94, null),
  fchownat: deny(260, 54),
  utime: deny(132, null),
  utimes: deny(235, null),
  futimesat: deny(261, null),
  utimensat: { x64: 280, arm64: 88, errno: EPERM, when: BY_PATH },
  setxattr: deny(188, 5),
  lsetxattr: deny(189, 6),
  removexattr: deny(197, 14),
  lremovexattr: deny(198, 15),
  setxattrat: deny(463, 463),
  removexattrat: deny(466, 466),
  file_setattr: deny(469, 469),
  ioprio_set: { x64: 251, arm64: 30, errno: EPERM, when: OTHERS_OR_MANY(1) },
};

/** The filter program of an architecture, as `bwrap --seccomp` and prctl take it. */
export function seccompFilter(architecture: Architecture, options: { sockets: boolean }): Buffer {
  const program: Instruction[] = [
    instruction(LOAD, AT_ARCHITECTURE),
    instruction(JUMP_EQUAL, AUDIT_ARCH[architecture], 1, 0),
    instruction(RETURN, RETURN_KILL),
    instruction(LOAD, AT_NUMBER),
  ];
  if (architecture === "x64") {
    program.push(instruction(JUMP_AT_LEAST, X32_BIT, 0, 1), instruction(RETURN, RETURN_ERRNO | ENOSYS));
  }
  for (const rule of Object.values(options.sockets ? REFUSED : SHARED_MACHINE)) {
    const number = rule[architecture];
    if (number === null) continue;
    const body = ruleBody(rule);
    program.push(instruction(JUMP_EQUAL, number, 0, body.length), ...body);
  }
  program.push(instruction(RETURN, RETURN_ALLOW));
  return assemble(program);
}

/** What is done for a call of a rule's number; every way through it ends. */
function ruleBody({ errno, when }: Rule): Instruction[] {
  const refuse = instruction(RETURN, RETURN_ERRNO | errno);
  if (when === undefined) return [refuse];
  return [
    ...when.flatMap((condition) => conditionBody(condition, refuse)),
    instruction(RETURN, RETURN_ALLOW),
  ];
}

/** Refuses, or goes on with what follows. */
function conditionBody(when: Condition, refuse: Instruction): Instruction[] {
  const load = instruction(LOAD, atArgument(when.argument));
  if ("anyOf" in when) return [load, instruction(JUMP_ANY_BIT, when.anyOf, 0, 1), refuse];
  if ("oneOf" in when) {
    const tests = when.oneOf.map((value, index, { length }) =>
      instruction(JUMP_EQUAL, value, length - index, 0),
    );
    return [load, ...tests, instruction(JUMP, 1), refuse];
  }
  const tests = when.noneOf.map((value, index, { length }) =>
    instruction(JUMP_EQUAL, value, length - index, 0),
  );
  const half = when.upper ? instruction(LOAD, atArgument(when.argument) + UPPER) : load;
  return [half, ...tests, refuse];
}

function assemble(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, jumpTrue, jumpFalse, value }, index) => {
    const at = index * 8;
    bytes.writeUInt16LE(code, at);
    bytes.writeUInt8(jumpTrue, at + 2);
    bytes.writeUInt8(jumpFalse, at + 3);
    bytes.writeUInt32LE(value, at + 4);
  });
  return bytes;
}

/** Whether there is a filter for this machine's processor. */
export function hasSeccompFilter(architecture: string): architecture is Architecture {
  return architecture === "x64" || architecture === "arm64";
}
