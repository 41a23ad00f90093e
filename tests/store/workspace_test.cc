#include "src/store/workspace.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <ctime>
#include <map>
#include <set>
#include <thread>
#include "src/base/durable_file.h"
#include "src/base/text_file.h"

#include "src/base/error.h"
#include "src/base/hash.h"
#include "tests/store/temporary.h"

namespace whyrec::store {
namespace {

namespace fs = std::filesystem;

artefact::Input MakeInput(const std::string& name, const std::string& content) {
  artefact::Input out;
  out.set_name(name);
  out.set_content(content);
  return out;
}

Identity MakeIdentity() {
  return {"train.isrf", 3, {"train.steps=200", "seed=1"}, {MakeInput("split", "aa")}};
}

artefact::Manifest CommitFiles(const Workspace& workspace, const Identity& identity,
                               const std::map<std::string, std::string>& files) {
  const fs::path partial = workspace.Begin(identity);
  for (const auto& [path, text] : files) {
    fs::create_directories((partial / path).parent_path());
    WriteDurably(partial / path, text);
  }
  return workspace.Commit(identity, {}, UtcNow());
}

TEST(Workspace, CommittedArtefactCounts) {
  const Temporary folder;
  const Workspace workspace(folder / "run");
  const Identity identity = MakeIdentity();
  EXPECT_EQ(workspace.ReasonToRun(identity), "no artefact yet");
  EXPECT_FALSE(workspace.Find("train.isrf"));

  const auto made = CommitFiles(workspace, identity, {{"b.txt", "two"}, {"a/x.txt", "one"}});
  EXPECT_EQ(workspace.ReasonToRun(identity), "");
  EXPECT_FALSE(fs::exists(workspace.Partial("train.isrf")));
  EXPECT_EQ(workspace.Names(), std::vector<std::string>{"train.isrf"});
  EXPECT_TRUE(workspace.VerifyAll().empty());
  const auto found = workspace.Find("train.isrf");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->SerializeAsString(), made.SerializeAsString());
  EXPECT_EQ(found->file(0).path(), "a/x.txt");
  EXPECT_EQ(found->file(0).bytes(), 3u);
  // Content by its definition.
  EXPECT_EQ(found->content(),
            Sha256Of("a/x.txt " + Sha256Of("one") + "\nb.txt " + Sha256Of("two") + "\n"));
  std::tm finished{};
  const char* end = strptime(found->finished().c_str(), "%Y-%m-%dT%H:%M:%SZ", &finished);
  ASSERT_TRUE(end && *end == 0) << found->finished();
  EXPECT_NEAR(timegm(&finished), std::time(nullptr), 60);
}

TEST(Workspace, ContentDependsOnFilesAlone) {
  const Temporary folder;
  const Workspace workspace(folder.path());
  Identity other = MakeIdentity();
  other.name = "other";
  other.revision = 9;
  const auto a = CommitFiles(workspace, MakeIdentity(), {{"x", "1"}, {".scratch", "1"}});
  const auto b = CommitFiles(workspace, other, {{"x", "1"}, {".scratch", "2"}});
  EXPECT_EQ(a.content(), b.content());
  EXPECT_NE(a.fingerprint(), b.fingerprint());
  EXPECT_TRUE(workspace.VerifyAll().empty());
}

TEST(Workspace, FingerprintCoversEveryPartAndNoOrder) {
  const Identity base = MakeIdentity();
  std::set<std::string> prints{base.Fingerprint()};
  const auto differs = [&](auto change) {
    Identity changed = base;
    change(changed);
    return prints.insert(changed.Fingerprint()).second;
  };
  EXPECT_TRUE(differs([](Identity& id) { id.name = "x"; }));
  EXPECT_TRUE(differs([](Identity& id) { id.revision = 4; }));
  EXPECT_TRUE(differs([](Identity& id) { id.config[0] = "train.steps=201"; }));
  EXPECT_TRUE(differs([](Identity& id) { id.inputs[0].set_content("ab"); }));
  EXPECT_TRUE(differs([](Identity& id) { id.inputs[0].set_name("spliu"); }));
  EXPECT_TRUE(differs([](Identity& id) { id.inputs.clear(); }));
  EXPECT_FALSE(differs([](Identity& id) { std::swap(id.config[0], id.config[1]); }));
}

TEST(Workspace, ReasonsAreForPeople) {
  const Temporary folder;
  const Workspace workspace(folder.path());
  CommitFiles(workspace, MakeIdentity(), {{"x", "1"}});
  const auto reason = [&](auto change) {
    Identity changed = MakeIdentity();
    change(changed);
    return workspace.ReasonToRun(changed);
  };
  EXPECT_EQ(reason([](Identity& id) { id.config[0] = "train.steps=300"; }),
            "configuration changed: train.steps=300 was 200");
  EXPECT_EQ(reason([](Identity& id) { id.config.push_back("k=1"); }),
            "configuration changed: k=1 is new");
  EXPECT_EQ(reason([](Identity& id) { id.config.pop_back(); }),
            "configuration changed: seed is gone, was 1");
  EXPECT_EQ(reason([](Identity& id) { id.inputs[0].set_content("bb"); }), "input split changed");
  EXPECT_EQ(reason([](Identity& id) { id.inputs[0].set_name("graphs"); }),
            "input graphs is new; input split is gone");
  EXPECT_EQ(reason([](Identity& id) {
              id.revision = 4;
              id.config = {"a=1", "b=2"};
            }),
            "stage changed: revision 4 was 3; configuration changed: a=1 is new; "
            "configuration changed: b=2 is new; and 2 more");
}

TEST(Workspace, DamageIsSeen) {
  const Temporary folder;
  const Workspace workspace(folder.path());
  const Identity identity = MakeIdentity();
  const fs::path file = workspace.Of(identity.name) / "x";
  const auto recommit = [&] { CommitFiles(workspace, identity, {{"x", "123"}}); };

  recommit();
  WriteDurably(file, "124");  // same size: only hashes tell
  EXPECT_EQ(workspace.ReasonToRun(identity), "");
  EXPECT_EQ(workspace.Verify(identity.name),
            std::vector<std::string>{"train.isrf: x has changed since it was committed"});
  WriteDurably(file, "1");
  EXPECT_EQ(workspace.ReasonToRun(identity), "x has 1 bytes; its manifest says 3");
  EXPECT_FALSE(workspace.Find(identity.name));
  fs::remove(file);
  EXPECT_EQ(workspace.ReasonToRun(identity), "x is missing");

  recommit();
  WriteDurably(workspace.Of(identity.name) / "y", "");
  EXPECT_EQ(workspace.VerifyAll(),
            std::vector<std::string>{"train.isrf: y is not in the manifest"});
  WriteDurably(workspace.Of(identity.name) / "manifest.txtpb", "file { path");
  EXPECT_EQ(workspace.ReasonToRun(identity), "manifest.txtpb cannot be read");
  EXPECT_EQ(workspace.VerifyAll().size(), 1u);
  recommit();
  EXPECT_TRUE(workspace.VerifyAll().empty());
  workspace.Remove(identity.name);
  EXPECT_TRUE(workspace.Names().empty());
  EXPECT_EQ(workspace.Verify(identity.name).size(), 1u);
}

TEST(Workspace, BeginContinuesTheSameWorkOnly) {
  const Temporary folder;
  const Workspace workspace(folder.path());
  const Identity identity = MakeIdentity();
  WriteDurably(workspace.Begin(identity) / "half", "1");
  EXPECT_EQ(workspace.ReasonToRun(identity), "unfinished: continues an earlier attempt");
  EXPECT_TRUE(fs::exists(workspace.Begin(identity) / "half"));
  Identity other = identity;
  other.config[0] = "train.steps=1";
  EXPECT_FALSE(fs::exists(workspace.Begin(other) / "half"));
  EXPECT_THROW(workspace.Commit(identity, {}, ""), Error);  // that folder is not its work
}

// A process that ended between the two renames of a commit: its work is found again.
TEST(Workspace, CommitWithoutManifestIsTakenBack) {
  const Temporary folder;
  const Workspace workspace(folder.path());
  const Identity identity = MakeIdentity();
  WriteDurably(workspace.Begin(identity) / "x", "1");
  fs::rename(workspace.Partial(identity.name), workspace.Of(identity.name));
  EXPECT_FALSE(workspace.Find(identity.name));
  EXPECT_TRUE(fs::exists(workspace.Begin(identity) / "x"));
  workspace.Commit(identity, {}, UtcNow());
  EXPECT_EQ(workspace.ReasonToRun(identity), "");
}

// Replaces one artefact for ever, with revisions that say what its files must hold.
[[noreturn]] void CommitForEver(const fs::path& folder, int revision) {
  const Workspace workspace(folder);
  for (;; ++revision) {
    Identity identity = MakeIdentity();
    identity.revision = revision;
    std::map<std::string, std::string> files;
    for (int i = 0; i < 5; ++i)
      files[Cat("d", i % 2, "/f", i)] = std::string(200 * i, 'x') + std::to_string(revision);
    CommitFiles(workspace, identity, files);
  }
}

// SIGKILL at 200 random times (seeded): afterwards the artefact is whole or does not count. In
// memory, where syncing costs nothing, so that the kills fall on all steps of a commit.
TEST(Workspace, KilledCommitsLeaveAWholeArtefactOrNone) {
  const Temporary folder(fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path());
  const Workspace workspace(folder.path());
  std::srand(7);
  constexpr int kRounds = 200;
  int counted = 0;
  for (int round = 0; round < kRounds; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) CommitForEver(folder.path(), round * 100000);
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + std::rand() % 10000));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto manifest = workspace.Find("train.isrf");
    if (!manifest) continue;
    ++counted;
    EXPECT_TRUE(workspace.Verify("train.isrf").empty()) << workspace.Verify("train.isrf")[0];
    EXPECT_EQ(manifest->file_size(), 5);
    for (const auto& file : manifest->file())
      EXPECT_TRUE(ReadFile(workspace.Of("train.isrf") / file.path())
                      .ends_with(std::to_string(manifest->revision())));
  }
  EXPECT_GT(counted, 0);
  EXPECT_LT(counted, kRounds);
  std::printf("an artefact counted after %d of %d kills\n", counted, kRounds);
  CommitFiles(workspace, MakeIdentity(), {{"x", "1"}});  // and work goes on
  EXPECT_TRUE(workspace.VerifyAll().empty());
}

TEST(Workspace, ExternalInputsCountByContent) {
  const Temporary folder;
  fs::create_directories(folder / "model/sub");
  WriteDurably(folder / "model/b", "2");
  WriteDurably(folder / "model/sub/a", "1");
  const auto whole = ExternalInput("isrf.backbone.folder", folder / "model");
  EXPECT_EQ(whole.name(), "file:isrf.backbone.folder");
  EXPECT_EQ(whole.content(), Sha256Of("b " + Sha256Of("2") + "\nsub/a " + Sha256Of("1") + "\n"));
  fs::rename(folder / "model", folder / "moved");
  EXPECT_EQ(ExternalInput("x", folder / "moved").content(), whole.content());
  EXPECT_EQ(ExternalInput("x", folder / "moved/b").content(), Sha256Of("2"));
  EXPECT_THROW(ExternalInput("x", folder / "absent"), Error);
}

TEST(Workspace, RefusedWritesAreErrors) {
  const Temporary folder;
  WriteDurably(folder / "file", "x");
  try {
    Workspace workspace(folder / "file" / "run");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kCannotWrite);
  }
  try {
    WriteDurably(folder / "absent" / "file", "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kCannotWrite);
  }
  EXPECT_THROW(ReadFile(folder.path()), Error);
}

}  // namespace
}  // namespace whyrec::store
