class ClaudeSessionSync < Formula
  desc "Keeps Claude Code sessions equal between this machine and GitHub Codespaces"
  homepage "https://downloads.example/claude-session-sync"
  # `packaging/release.sh` fills in where the source is, and its checksum.
  url "https://downloads.example/claude-session-sync-0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build
  depends_on "gh"

  def install
    system "cargo", "install", "--profile", "dist", *std_cargo_args

    system bin/"claude-session-sync", "man", "--out", buildpath/"man"
    man1.install Dir["man/*.1"]
    generate_completions_from_executable(bin/"claude-session-sync", "completions", shells: [:bash, :zsh, :fish])

    return unless OS.linux?

    # `brew services` takes the unit that the program itself installs, instead of one made of the block below.
    unit = buildpath/"packaging/systemd/claude-session-sync.service"
    inreplace unit, "@PROGRAM@", opt_bin/"claude-session-sync"
    inreplace unit, "@ENVIRONMENT@", "Environment=\"PATH=#{HOMEBREW_PREFIX}/bin:/usr/local/bin:/usr/bin:/bin\""
    prefix.install unit => "homebrew.claude-session-sync.service"
  end

  def caveats
    <<~EOS
      To keep sessions equal every hour, start the agent in one of two ways, not both:
        claude-session-sync service install         # with this shell's PATH and proxies
        brew services start claude-session-sync     # with Homebrew's PATH only
      After an upgrade: claude-session-sync service restart, or brew services restart claude-session-sync
      Before it is removed: claude-session-sync service uninstall

      gh needs the scope codespace: gh auth refresh -h github.com -s codespace
    EOS
  end

  service do
    run macos: [opt_bin/"claude-session-sync", "run"]
    environment_variables PATH: std_service_path_env
    keep_alive successful_exit: false
    process_type :background
    throttle_interval 60
  end

  test do
    assert_equal "claude-session-sync #{version}", shell_output("#{bin}/claude-session-sync --version").strip
    # The real pass in a world of its own: no network, no account.
    system bin/"claude-session-sync", "demo"
    system bin/"claude-session-sync", "config", "init"
    system bin/"claude-session-sync", "config", "check"
  end
end
