defmodule AMDGPUFramework.Standalone.ClassPath do
  @moduledoc false
  # The broker's jars. Maven resolves them into its own repository; only their list is kept here, in the
  # user's cache. Jars that are gone or cut short are fetched again.

  require Logger

  alias AMDGPUFramework.Standalone.Error

  # A jar is a zip archive: its end record stands in the last 64 KiB and 22 bytes.
  @end_record <<"PK", 5, 6>>
  @end_record_span 65_557

  @spec resolve() :: {:ok, String.t()} | {:error, Exception.t()}
  def resolve do
    pom = Application.app_dir(:amdgpu_framework, "priv/standalone/pom.xml")
    list = list_file(pom)

    case listed(list) do
      {:ok, class_path} -> {:ok, class_path}
      {:damaged, _jars} -> fetch(pom, list)
      :unlisted -> fetch(pom, list)
    end
  end

  defp fetch(pom, list) do
    with {:ok, maven} <- find_maven() do
      Logger.info(
        "Fetching the jars of the Pulsar broker with Maven; the first time takes a few minutes"
      )

      # The second try also asks again for what Maven remembers as not found, after a broken connection.
      with {:error, _} <- fetch_sound(maven, pom, list, []) do
        fetch_sound(maven, pom, list, ["-U"])
      end
    end
  end

  # Maven believes any file in its repository: a jar cut short is removed, then Maven fetches it.
  defp fetch_sound(maven, pom, list, flags) do
    with :ok <- run_maven(maven, pom, list, flags) do
      case listed(list) do
        {:ok, class_path} ->
          {:ok, class_path}

        {:damaged, jars} ->
          Enum.each(jars, &File.rm/1)
          {:error, Error.exception("damaged jars: #{Enum.join(jars, ", ")}")}

        :unlisted ->
          {:error, Error.exception("Maven wrote no class path to #{list}")}
      end
    end
  end

  defp run_maven(maven, pom, list, flags) do
    part = "#{list}.#{System.pid()}.part"
    File.mkdir_p!(Path.dirname(list))

    args =
      flags ++
        ["-B", "-q", "-f", pom, "dependency:build-classpath", "-DincludeScope=runtime"] ++
        ["-Dmdep.outputFile=#{part}"]

    case System.cmd(maven, args, stderr_to_stdout: true) do
      {_, 0} ->
        File.rename!(part, list)

      {output, _} ->
        File.rm(part)
        tail = output |> String.split("\n") |> Enum.take(-15) |> Enum.join("\n")
        {:error, Error.exception("Maven could not resolve the broker's jars:\n\n#{tail}")}
    end
  end

  defp listed(list) do
    case File.read(list) do
      {:ok, class_path} ->
        case class_path |> String.split(":") |> Enum.reject(&sound_jar?/1) do
          [] -> {:ok, class_path}
          jars -> {:damaged, jars}
        end

      {:error, _} ->
        :unlisted
    end
  end

  @doc false
  def sound_jar?(path) do
    case :file.open(path, [:read, :raw, :binary]) do
      {:ok, file} ->
        try do
          {:ok, size} = :file.position(file, :eof)
          # Few jars carry a comment: the record is nearly always the last 22 bytes.
          end_record?(file, size, 22) or end_record?(file, size, @end_record_span)
        after
          :file.close(file)
        end

      {:error, _} ->
        false
    end
  end

  defp end_record?(file, size, span) do
    case :file.pread(file, max(size - span, 0), span) do
      {:ok, bytes} -> :binary.match(bytes, @end_record) != :nomatch
      _ -> false
    end
  end

  defp list_file(pom) do
    digest = pom |> File.read!() |> :erlang.md5() |> Base.encode16(case: :lower)
    cache = :filename.basedir(:user_cache, 'amdgpu_framework')
    Path.join(cache, "pulsar-standalone-#{String.slice(digest, 0, 12)}.classpath")
  end

  defp find_maven do
    case System.find_executable("mvn") do
      nil ->
        {:error,
         Error.exception(
           "mvn was not found; Maven fetches the Pulsar broker. Install it with `apt-get install maven` or `brew install maven`"
         )}

      maven ->
        {:ok, maven}
    end
  end
end
