defmodule Mix.Tasks.Compile.MessagingNif do
  @moduledoc false
  # Builds native/messaging_nif with Cargo and installs it as priv/native/messaging_nif.so.
  # It stands in mix.exs because a compiler has to exist before the project's own code does.

  use Mix.Task.Compiler

  @recursive true
  @crate "messaging_nif"
  @native_module AMDGPUFramework.Messaging.Native
  @root __DIR__
  @installed Path.join([@root, "priv", "native", @crate <> ".so"])
  @sources ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "native/**/*.{rs,toml,proto}"]

  @impl true
  def run(args) do
    platform = platform!()
    digest = source_digest()

    if "--force" in args or read_manifest() != {digest, installed_stat()} do
      build(platform, digest)
    else
      {:noop, []}
    end
  end

  @impl true
  def manifests, do: [manifest()]

  # The Cargo target directory stays: it is a cache that costs minutes to fill.
  @impl true
  def clean do
    File.rm(@installed)
    File.rm(manifest())
    :ok
  end

  defp build(platform, digest) do
    cargo = cargo!()
    require_protoc!()
    Mix.shell().info("Compiling the NIF (cargo build --release -p #{@crate})")

    case cargo_build(cargo) do
      0 ->
        install(Path.join([target_dir(), "release", library_file(platform)]))
        File.mkdir_p!(Path.dirname(manifest()))
        File.write!(manifest(), :erlang.term_to_binary({digest, installed_stat()}))
        {:ok, []}

      status ->
        message = "cargo build of #{@crate} failed with status #{status}; its output is above"
        Mix.shell().error(message)
        {:error, [diagnostic(message)]}
    end
  end

  defp cargo_build(cargo) do
    args = ~w(build --release --locked -p #{@crate} --target-dir) ++ [target_dir()]
    color = if IO.ANSI.enabled?(), do: "always", else: "never"

    # A cross-compilation target would move the library to another folder.
    env = [{"CARGO_BUILD_TARGET", nil}, {"CARGO_TERM_COLOR", color}]
    options = [cd: @root, into: IO.stream(), stderr_to_stdout: true, env: env]
    {_, status} = System.cmd(cargo, args, options)
    status
  end

  # A virtual machine may have the installed file mapped: writing into it would crash that machine,
  # so the new file gets an inode of its own and takes over the name. An equal file is left in place.
  defp install(built) do
    if file_digest(built) != file_digest(@installed) do
      File.mkdir_p!(Path.dirname(@installed))
      part = "#{@installed}.#{System.pid()}.part"
      File.cp!(built, part)
      File.rename!(part, @installed)

      if :erlang.module_loaded(@native_module) do
        Mix.shell().info([:yellow, "The NIF has changed: restart the VM to load the new one"])
      end
    end

    # Where priv could not be linked into the build directory it was copied, before this file was there.
    Mix.Project.build_structure()
  end

  # Shared by all Mix environments, so that `mix test` does not build again what `mix compile` has built.
  defp target_dir do
    override = System.get_env("AMDGPU_FRAMEWORK_TARGET_DIR")

    cond do
      override not in [nil, ""] -> Path.expand(override)
      System.get_env("MIX_BUILD_PATH") -> Path.join(Mix.Project.build_path(), "native")
      true -> Mix.Project.build_path() |> Path.dirname() |> Path.join("native")
    end
  end

  defp source_digest do
    @sources
    |> Enum.flat_map(&Path.wildcard(Path.join(@root, &1), match_dot: true))
    |> Enum.sort()
    |> Enum.map(&[Path.relative_to(&1, @root), 0, File.read!(&1), 0])
    |> :erlang.md5()
  end

  defp file_digest(path) do
    case File.read(path) do
      {:ok, content} -> :erlang.md5(content)
      {:error, :enoent} -> nil
    end
  end

  # Tells the file that this manifest installed from one that another environment put in its place.
  defp installed_stat do
    case File.stat(@installed) do
      {:ok, %File.Stat{inode: inode, size: size, mtime: mtime}} -> {inode, size, mtime}
      {:error, _} -> nil
    end
  end

  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.messaging_nif")

  defp read_manifest do
    case File.read(manifest()) do
      {:ok, content} -> :erlang.binary_to_term(content)
      {:error, _} -> nil
    end
  end

  defp platform! do
    architecture = to_string(:erlang.system_info(:system_architecture))
    [processor | _] = String.split(architecture, "-")

    case {processor, :os.type()} do
      {cpu, {:unix, os}} when cpu in ~w(x86_64 amd64 aarch64 arm64) and os in [:linux, :darwin] ->
        os

      _ ->
        Mix.raise(
          "amdgpu_framework runs on Linux and macOS, on x86-64 and aarch64; this is #{architecture}"
        )
    end
  end

  defp library_file(:linux), do: "lib#{@crate}.so"
  defp library_file(:darwin), do: "lib#{@crate}.dylib"

  defp cargo! do
    System.find_executable(System.get_env("CARGO") || "cargo") ||
      Mix.raise("""
      cargo was not found, and the NIF is built with it.
      Install the Rust toolchain (1.85 or newer) from https://rustup.rs and open a new shell, or let the
      environment variable CARGO name the executable.
      """)
  end

  defp require_protoc! do
    System.find_executable(System.get_env("PROTOC") || "protoc") ||
      Mix.raise("""
      protoc was not found, and the Pulsar protocol is compiled with it. Install it with

          apt-get install protobuf-compiler     # Debian, Ubuntu
          dnf install protobuf-compiler         # Fedora
          brew install protobuf                 # macOS

      or let the environment variable PROTOC name the executable.
      """)
  end

  defp diagnostic(message) do
    %Mix.Task.Compiler.Diagnostic{
      compiler_name: "Cargo",
      file: Path.join([@root, "native", @crate, "Cargo.toml"]),
      message: message,
      position: 0,
      severity: :error
    }
  end
end

defmodule AMDGPUFramework.MixProject do
  use Mix.Project

  def project do
    [
      app: :amdgpu_framework,
      version: "0.1.0",
      description: "Apache Pulsar messaging with GPU message processing, on a Rust NIF",
      elixir: "~> 1.14",
      compilers: [:messaging_nif | Mix.compilers()],
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      xref: [exclude: [:httpc]],
      deps: []
    ]
  end

  def application do
    [mod: {AMDGPUFramework.Application, []}, extra_applications: [:logger, :crypto]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]
end
