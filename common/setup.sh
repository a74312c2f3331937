# Sourced by bench/run and tests/run: installs by package name what is missing,
# or prints the exact line to run where it may not install.
#
#   setup_need NAME...   stop if one of these cannot be installed
#   setup_want NAME...   install these if possible, go on without them if not
#   setup_build DIR ROOT configure the build, and again after a library has come or gone
#
# Functions in (round brackets) run in a subshell, so their variables stay there: the script that
# sources this also has a "root" and a "log".

setup_have() {
    case $1 in
    cc) command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
        command -v clang >/dev/null 2>&1 ;;
    headers) echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 ;;
    python3 | pkg-config | meson | ninja | strace | valgrind | clang | clang-format | clang-tidy | cppcheck | go | node)
        command -v "$1" >/dev/null 2>&1
        ;;
    nft) # only Linux has it; an ordinary user's PATH may lack its folder
        [ "$(uname -s)" != Linux ] || (PATH=$PATH:/usr/sbin:/sbin && command -v nft) >/dev/null 2>&1
        ;;
    fuzzer) # clang's, which some distributions package separately
        echo 'int LLVMFuzzerTestOneInput(void){return 0;}' |
            clang -fsanitize=fuzzer -x c -o /dev/null - >/dev/null 2>&1
        ;;
    libev) echo '#include <ev.h>' | cc -E - >/dev/null 2>&1 ;; # often without a pkg-config file
    *) pkg-config --exists "$1" >/dev/null 2>&1 ;; # a library, named as in pkg-config
    esac
}

# Prints the packages of a thing in a distribution.
setup_package() { # manager, thing
    case $1:$2 in
    apt:cc) echo gcc libc6-dev ;;
    apt:headers) echo libc6-dev ;;
    apt:ninja | dnf:ninja) echo ninja-build ;;
    apt:pkg-config) echo pkg-config ;;
    apt:criterion) echo libcriterion-dev ;;
    apt:nft | pacman:nft) echo nftables iproute2 ;;
    dnf:nft) echo nftables iproute ;;
    apt:libuv | apt:libevent | apt:jansson | apt:libev | apt:liburing)
        echo "lib${2#lib}-dev" | sed 's/libuv-dev/libuv1-dev/' ;;
    apt:go) echo golang-go ;;
    dnf:go) echo golang ;;
    apt:node | dnf:node | pacman:node) echo nodejs ;;
    apt:fuzzer) echo clang libclang-rt-dev ;;
    dnf:fuzzer) echo clang compiler-rt ;;
    pacman:fuzzer) echo clang compiler-rt ;;
    brew:fuzzer | pkg:fuzzer) echo llvm ;;
    dnf:clang-tidy) echo clang-tools-extra ;;
    pacman:clang-tidy) echo clang ;;
    brew:clang-tidy | pkg:clang-tidy) echo llvm ;;
    dnf:cc | pacman:cc | brew:cc | pkg:cc) echo gcc ;;
    dnf:headers) echo glibc-devel ;;
    pacman:headers) echo glibc ;;
    pacman:python3) echo python ;;
    dnf:pkg-config | pacman:pkg-config | pkg:pkg-config) echo pkgconf ;;
    brew:pkg-config) echo pkgconf ;;
    dnf:criterion) echo criterion-devel ;;
    dnf:libuv | dnf:libevent | dnf:libev | dnf:liburing | dnf:jansson) echo "$2-devel" ;;
    *) echo "$2" ;;
    esac
}

setup_manager() (
    for manager in apt-get dnf pacman brew pkg; do
        if command -v $manager >/dev/null 2>&1; then
            echo "${manager%-get}"
            return
        fi
    done
)

setup_command() ( # manager, packages...
    manager=$1
    shift
    case $manager in
    apt) echo "apt-get install -y --no-install-recommends $*" ;;
    dnf) echo "dnf install -y $*" ;;
    pacman) echo "pacman -S --noconfirm --needed $*" ;;
    brew) echo "brew install $*" ;;
    pkg) echo "pkg install -y $*" ;;
    esac
)

# Prints the things among its arguments that are not there yet.
setup_missing() (
    for thing in "$@"; do
        setup_have "$thing" || printf '%s ' "$thing"
    done
)

# Returns 2 when it may not install, after printing what to run, and 1 when the installation failed.
setup_install() ( # things...
    manager=$(setup_manager)
    packages=
    for thing in "$@"; do
        for package in $(setup_package "$manager" "$thing"); do
            case "$packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
        done
    done
    if [ -z "$manager" ]; then
        echo "missing:$packages. Install them with your system's package manager." >&2
        return 2
    fi
    # shellcheck disable=SC2086
    line=$(setup_command "$manager" $packages)
    root=
    if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
        # Never ask for a password: a script that stops to ask hangs in CI.
        sudo -n true 2>/dev/null && root=sudo
        if [ -z "$root" ]; then
            echo "missing:$packages. Please run:  sudo $line" >&2
            return 2
        fi
    fi
    echo "installing:$packages" >&2
    log=$(mktemp)
    [ "$manager" != apt ] || $root env DEBIAN_FRONTEND=noninteractive apt-get update >"$log" 2>&1 || true
    if ! $root env DEBIAN_FRONTEND=noninteractive $line >>"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "could not install. Please run:  ${root:+$root }$line" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
)

setup_or_fail() (
    # shellcheck disable=SC2046
    if [ -n "$(setup_missing "$@")" ]; then
        setup_install $(setup_missing "$@") || exit 1
    fi
    for thing in $(setup_missing "$@"); do
        echo "still missing after the installation: $thing" >&2
        exit 1
    done
)

setup_need() {
    setup_or_fail "$@" || exit 1
}

# All at once. When one package does not exist, it tries each of them alone.
setup_want() (
    missing=$(setup_missing "$@")
    [ -n "$missing" ] || return 0
    status=0
    # shellcheck disable=SC2086
    setup_install $missing || status=$?
    for thing in $missing; do
        [ $status != 1 ] || setup_have "$thing" || setup_install "$thing" || true
        setup_have "$thing" || echo "going on without $thing" >&2
    done
)

# meson looks for libraries and languages only when it configures. Without this, a reader who runs
# bench/run first and installs Criterion later would have no tests.
setup_build() ( # build directory, root of the tree
    missing=$(setup_missing criterion jansson libuv libevent libev liburing go node)
    if [ ! -f "$1/meson-private/coredata.dat" ]; then
        meson setup "$1" "$2" || exit 1
    # without build.ninja, Ctrl-C has ended meson in the middle
    elif [ ! -f "$1/build.ninja" ] || [ ! -f "$1/missing" ] || [ "$(cat "$1/missing")" != "$missing" ]; then
        meson setup --reconfigure "$1" "$2" || exit 1
    fi
    echo "$missing" >"$1/missing"
)
