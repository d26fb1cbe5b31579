defmodule AMDGPUFramework.PackagingTest do
  # Builds another Mix project on this one, as its users do. The NIF's Cargo target directory is shared with this
  # run, so that the crates are not compiled a second time.
  use ExUnit.Case, async: false

  @moduletag :packaging
  @moduletag timeout: 900_000

  @root Path.expand("..", __DIR__)
  @nif_version "IO.puts(\"nif=\" <> AMDGPUFramework.Messaging.Native.version())"

  setup_all do
    project = Path.join(System.tmp_dir!(), "amdgpu_framework-consumer-#{System.pid()}")
    on_exit(fn -> File.rm_rf!(project) end)
    write_project(project)
    [project: project]
  end

  test "another project depends on it by path, and builds a release", %{project: project} do
    expected = "nif=#{Application.spec(:amdgpu_framework, :vsn)}"

    assert mix(project, ["compile"]) =~ "Compiling the NIF"
    assert mix(project, ["run", "-e", "Consumer.run()"]) =~ expected
    refute mix(project, ["compile"]) =~ "Compiling the NIF"

    mix(project, ["release"])
    release = Path.join(project, "_build/prod/rel/consumer")

    # The release stands on its own: neither sources nor build directories are needed.
    moved = Path.join(project, "deployed")
    File.rename!(release, moved)
    {output, status} = System.cmd(Path.join(moved, "bin/consumer"), ["eval", @nif_version])
    assert {status, output} == {0, expected <> "\n"}
  end

  test "a missing tool is answered with what to install", %{project: project} do
    for {variable, advice} <- [{"CARGO", "https://rustup.rs"}, {"PROTOC", "protobuf-compiler"}] do
      # A build directory of its own: nothing is compiled before the tool is looked for.
      build = Path.join(project, "without_#{variable}")
      env = [{"MIX_BUILD_PATH", build}, {variable, Path.join(project, "not-there")}]
      {output, status} = run_mix(project, ["compile"], env)
      assert status == 1
      assert output =~ advice
    end
  end

  test "docs/dependencies.md explains every crate of the workspace, and no other" do
    [_, section] =
      String.split(File.read!(Path.join(@root, "Cargo.toml")), "[workspace.dependencies]")

    [section | _] = String.split(section, ~r/^\[/m)
    named = Regex.scan(~r/^([\w-]+) = (?!\{ path)/m, section, capture: :all_but_first)

    document = File.read!(Path.join(@root, "docs/dependencies.md"))
    [_, document] = String.split(document, "## Rust")
    [document | _] = String.split(document, "## To build")
    explained = Regex.scan(~r/^\| `([\w-]+)` \|/m, document, capture: :all_but_first)

    assert Enum.sort(named) == Enum.sort(explained)
  end

  defp write_project(project) do
    File.mkdir_p!(Path.join(project, "lib"))

    File.write!(Path.join(project, "mix.exs"), """
    defmodule Consumer.MixProject do
      use Mix.Project

      def project do
        [app: :consumer, version: "1.0.0", deps: [amdgpu_framework: [path: #{inspect(@root)}]]]
      end
    end
    """)

    File.write!(Path.join(project, "lib/consumer.ex"), """
    defmodule Consumer do
      def run, do: #{@nif_version}
    end
    """)
  end

  defp mix(project, arguments) do
    {output, status} = run_mix(project, arguments, [])
    assert status == 0, output
    output
  end

  defp run_mix(project, arguments, env) do
    defaults = [
      {"MIX_ENV", "prod"},
      {"MIX_BUILD_PATH", nil},
      {"AMDGPU_FRAMEWORK_TARGET_DIR", target_dir()}
    ]

    System.cmd("mix", arguments, cd: project, env: defaults ++ env, stderr_to_stdout: true)
  end

  defp target_dir do
    System.get_env("AMDGPU_FRAMEWORK_TARGET_DIR") ||
      Path.join(Path.dirname(Mix.Project.build_path()), "native")
  end
end
