#!/usr/bin/env bash
# Checks for the tools that the project is built and tested with and installs by apt those that are missing.
# Where it may not install, it says what to install. With everything in place it takes a second.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

# Erlang applications that Debian ships in packages of their own, and the package of each.
erlang_applications="asn1 crypto inets parsetools public_key runtime_tools ssl tools"

missing_erlang_applications() {
  erl -noshell -eval '
    [io:format("~s~n", [App]) || App <- init:get_plain_arguments(),
     code:where_is_file(App ++ ".app") =:= non_existing], halt().' -extra $erlang_applications
}

has_erl_nif_header() {
  local root
  root=$(erl -noshell -eval 'io:format("~s", [code:root_dir()]), halt().')
  [ -e "$root/usr/include/erl_nif.h" ]
}

has_java_17() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p')
  [ "${version:-0}" -ge 17 ]
}

jdk_package() {
  if apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1; then
    echo openjdk-17-jdk-headless
  else
    echo default-jdk-headless
  fi
}

c_compiler_works() { echo 'int main(void) { return 0; }' | cc -x c - -o /dev/null 2>/dev/null; }

# Prints a line "what it is for: Debian package" for each thing that is missing.
missing() {
  c_compiler_works || printf '%s\n' "a C compiler: gcc" "the C library's headers: libc6-dev"
  command -v protoc >/dev/null || echo "protoc: protobuf-compiler"
  command -v mvn >/dev/null || echo "Maven: maven"
  # The compiler is for the tests against the official Java client.
  { command -v javac >/dev/null && has_java_17; } || echo "Java 17: $(jdk_package)"

  if command -v elixir >/dev/null && command -v erl >/dev/null; then
    local application
    for application in $(missing_erlang_applications); do
      echo "Erlang's $application: erlang-${application//_/-}"
    done
    has_erl_nif_header || echo "Erlang's C headers: erlang-dev"
  else
    echo "Elixir 1.14: elixir"
    echo "Erlang's C headers: erlang-dev"
    for application in $erlang_applications; do
      echo "Erlang's $application: erlang-${application//_/-}"
    done
  fi
}

install() {
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  command -v apt-get >/dev/null || return 1

  say "installing $*"
  # Slim images lack this directory, and Java's packages link manual pages into it.
  "${as_root[@]}" mkdir -p /usr/share/man/man1
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  "${apt[@]}" update </dev/null >&2
  "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >&2
}

require_versions() {
  elixir -e '
    elixir? = Version.match?(System.version(), ">= 1.14.0")
    otp? = String.to_integer(System.otp_release()) >= 25
    unless elixir? and otp? do
      IO.puts(:stderr, "setup: Elixir 1.14 on OTP 25 or newer is needed; this is #{System.version()} on OTP #{System.otp_release()}")
      System.halt(1)
    end'
}

require_rust() {
  if ! command -v cargo >/dev/null; then
    say "cargo was not found. Install Rust 1.85 or newer from https://rustup.rs, then run this again."
    return 1
  fi
  if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    rustup component add rustfmt clippy >&2 ||
      say "rustfmt and clippy, which make lint needs, are missing from this Rust toolchain."
  fi
}

require_rust

lines=$(missing)
if [ -n "$lines" ]; then
  packages=$(sed 's/.*: //' <<<"$lines" | sort -u)
  # shellcheck disable=SC2086 # one word is one package
  install $packages || true
  lines=$(missing)
fi

if [ -n "$lines" ]; then
  say "missing:"
  sed 's/^\(.*\): \(.*\)$/  \1 (Debian package \2)/' <<<"$lines" >&2
  if command -v apt-get >/dev/null; then
    say "install with: sudo apt-get install $(sed 's/.*: //' <<<"$lines" | sort -u | tr '\n' ' ')"
  elif command -v brew >/dev/null; then
    say "install with: brew install elixir protobuf openjdk@17 maven"
  fi
  exit 1
fi

require_versions
