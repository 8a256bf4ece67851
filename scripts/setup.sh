#!/usr/bin/env bash
# Installs what the build needs from the system and does not find: LLVM and MLIR 22, their linker, the C++ compiler
# and libclang with which their Rust bindings are made. Says nothing when all of it is there.
set -euo pipefail

prefix=${MLIR_SYS_220_PREFIX:-/usr/lib/llvm-22}

# Debian package, what it is needed for, a file or command that shows that it is there.
requirements=(
    "g++                    | a C and C++ compiler                | c++"
    "llvm-22-dev            | LLVM 22                             | $prefix/bin/llvm-config $prefix/lib/libLLVMTableGen.a"
    "libmlir-22-dev         | MLIR 22                             | $prefix/lib/libMLIR.so $prefix/include/mlir-c/IR.h"
    "libpolly-22-dev        | LLVM 22's static library list       | $prefix/lib/libPolly.a"
    "lld-22                 | the linker of compiled programs     | ld.lld-22"
    "libclang1-22           | reading C headers                   | $prefix/lib/libclang-22.so.1"
    "libclang-common-22-dev | reading C headers                   | $prefix/lib/clang/22/include/stddef.h"
    "zlib1g-dev             | LLVM's compression                  | /usr/include/zlib.h"
    "libzstd-dev            | LLVM's compression                  | /usr/include/zstd.h"
)

fail() {
    echo "setup: error: $*" >&2
    exit 1
}

# Prints the requirements of which something is not found, as "package (purpose)" lines.
missing_requirements() {
    local requirement package purpose evidence probe
    for requirement in "${requirements[@]}"; do
        IFS='|' read -r package purpose evidence <<<"$requirement"
        for probe in $evidence; do
            if [[ $probe == /* ]]; then [[ -e $probe ]]; else command -v "$probe" >/dev/null; fi && continue
            read -r package <<<"$package"
            read -r purpose <<<"$purpose"
            echo "$package ($purpose)"
            break
        done
    done
}

# The packages of such lines, on one line.
packages_of() {
    local package rest names=()
    while read -r package rest; do names+=("$package"); done <<<"$1"
    echo "${names[*]}"
}

command -v cargo >/dev/null || fail "cargo is not found; install Rust 1.95 or newer: https://rustup.rs"

missing=$(missing_requirements)
[[ -z $missing ]] && exit 0

if ! command -v apt-get >/dev/null; then
    fail "missing, by the names of Debian's packages; install what corresponds to them:
$missing
If LLVM and MLIR 22 are not in $prefix, set MLIR_SYS_220_PREFIX, LLVM_SYS_221_PREFIX, TABLEGEN_220_PREFIX and LIBCLANG_PATH."
fi

as_root=()
if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || fail "these packages are missing, and only root can install them: $(packages_of "$missing")"
    as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }

read -ra packages <<<"$(packages_of "$missing")"
echo "setup: installing ${packages[*]}" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt update -qq >"$log" 2>&1 || { cat "$log" >&2; echo "setup: warning: 'apt-get update' failed; going on with the package lists at hand" >&2; }

for package in "${packages[@]}"; do
    [[ -n $(apt-cache madison "$package" 2>/dev/null) ]] ||
        fail "no package source of this system has $package; LLVM 22's packages are in Debian 12's bookworm-security and at https://apt.llvm.org"
done

if ! apt install -qq -y --no-install-recommends "${packages[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    fail "apt-get could not install $(packages_of "$(missing_requirements)")"
fi

missing=$(missing_requirements)
[[ -z $missing ]] || fail "installed, but not found where it belongs (prefix $prefix): $(packages_of "$missing")"
