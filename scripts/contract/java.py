"""gen/java: messages (protobuf-java) and services (grpc-java), with a pom.xml to depend on."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.contract.lean import lean_contract
from scripts.contract.tools import ROOT, TOOL_SECONDS_MAX

MAVEN = ROOT / "scripts" / "contract" / "maven"
TOOLS = ROOT / "build" / "contract" / "maven"
"""Where the two programs are kept: only the first time needs a registry."""

PROTOC = "4.35.1"
"""Of com.google.protobuf:protoc. The generated code runs on protobuf-java of this release or a later one of 4.x."""
PLUGIN = "1.83.1"
"""Of io.grpc:protoc-gen-grpc-java; no later release has the program so far."""
GRPC = "1.85.1"
"""Of grpc-java, in gen/java/pom.xml. It runs what PLUGIN writes."""
SHA256 = {
    "linux-x86_64": {
        "protoc": "d2c65c3ea5eeb59427f684ed3e0a0cd458386122fc9f1b98de946a7242b53d31",
        "protoc-gen-grpc-java": "db4044e78391d5a23439143c8147f07ba5877675587b4d48f3b68fbee3893589",
    },
    "linux-aarch_64": {
        "protoc": "608546367dd64505f3a676f30fffb546941c833aaab0ae1002c615827807d54d",
        "protoc-gen-grpc-java": "5af5544369bd8557111abfbed21453bb6fa867bf32a25f2ffe5f72366e705cef",
    },
    "osx-aarch_64": {
        "protoc": "d81c6d9240f7eb8d18d41c6abc9cd6ca7896e370c7b575adfcf2fa1d600727de",
        "protoc-gen-grpc-java": "372e13b25cb058ea6e3ab6cb54ba1458d5d2bbe1cfdcd37bc57e82b872656e21",
    },
}
"""Of the programs, for each platform as Maven's classifiers name it."""


def generate(target: Path) -> None:
    """Write java/ into a folder: a Maven project, complete."""
    project = target / "java"
    sources = project / "src" / "main" / "java"
    sources.mkdir(parents=True)
    tools = fetch_tools()
    with tempfile.TemporaryDirectory() as temporary:
        descriptor_set = Path(temporary) / "lean.binpb"
        # Google's own messages come with com.google.api.grpc:proto-google-common-protos.
        ours = [name for name in lean_contract(descriptor_set) if name.startswith("entasis/")]
        subprocess.run(
            [
                str(tools / "protoc"),
                f"--descriptor_set_in={descriptor_set}",
                f"--plugin=protoc-gen-grpc-java={tools / 'protoc-gen-grpc-java'}",
                f"--java_out={sources}",
                f"--grpc-java_out=@generated=omit:{sources}",
                *ours,
            ],
            check=True,
            timeout=TOOL_SECONDS_MAX,
        )
    (project / "pom.xml").write_text(POM.format(protobuf=PROTOC, grpc=GRPC))
    (project / ".gitignore").write_text("target/\n")


def fetch_tools() -> Path:
    """The folder of `protoc` and `protoc-gen-grpc-java`, fetched by Maven where they are not there yet."""
    pinned = SHA256.get(classifier())
    if pinned is None:
        raise SystemExit(f"gen/java cannot be generated on {classifier()}: add its hashes to scripts/contract/java.py.")
    if not all(_sha256(TOOLS / name) == digest for name, digest in pinned.items()):
        mvn = shutil.which("mvn")
        if mvn is None:
            raise SystemExit("`mvn` is not installed. It is needed only to generate gen/java, for two programs.")
        subprocess.run(
            [
                mvn,
                "--batch-mode",
                "--quiet",
                "--strict-checksums",
                f"--file={MAVEN / 'pom.xml'}",
                f"-Dmaven.repo.local={ROOT / 'build' / 'contract' / 'm2'}",
                f"-Dprotoc={PROTOC}",
                f"-Dgrpc={PLUGIN}",
                f"-Dplatform={classifier()}",
                f"-Dfolder={TOOLS}",
                "process-resources",
            ],
            check=True,
            timeout=TOOL_SECONDS_MAX,
        )
    for name, digest in pinned.items():
        if (found := _sha256(TOOLS / name)) != digest:
            (TOOLS / name).unlink()
            raise SystemExit(f"{name} for {classifier()} is not the file that is pinned: its SHA-256 is {found}.")
        (TOOLS / name).chmod(0o755)
    return TOOLS


def classifier() -> str:
    """This machine, as Maven's classifiers name it, such as `linux-x86_64`."""
    system = {"Darwin": "osx"}.get(platform.system(), platform.system().lower())
    machine = {"AMD64": "x86_64", "aarch64": "aarch_64", "arm64": "aarch_64"}
    return f"{system}-{machine.get(platform.machine(), platform.machine())}"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


POM = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Messages and services of Entasis Engine, written by `make gen` from proto/: edit nothing here. -->
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>entasis</groupId>
  <artifactId>entasis-api</artifactId>
  <version>0.1.0</version>
  <packaging>jar</packaging>

  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
    <grpc.version>{grpc}</grpc.version>
    <protobuf.version>{protobuf}</protobuf.version>
    <entasis.build>${{project.basedir}}/target</entasis.build>
  </properties>

  <dependencies>
    <dependency>
      <groupId>com.google.protobuf</groupId>
      <artifactId>protobuf-java</artifactId>
      <version>${{protobuf.version}}</version>
    </dependency>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-protobuf</artifactId>
      <version>${{grpc.version}}</version>
    </dependency>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-stub</artifactId>
      <version>${{grpc.version}}</version>
    </dependency>
  </dependencies>

  <build>
    <directory>${{entasis.build}}</directory>
    <plugins>
      <plugin>
        <artifactId>maven-compiler-plugin</artifactId>
        <version>3.14.1</version>
        <executions>
          <execution><id>default-testCompile</id><phase>none</phase></execution>
        </executions>
      </plugin>
      <plugin>
        <artifactId>maven-jar-plugin</artifactId>
        <version>3.5.0</version>
      </plugin>
      <plugin>
        <artifactId>maven-install-plugin</artifactId>
        <version>3.1.4</version>
      </plugin>
      <!-- Neither resources nor tests: Maven need not fetch what would look for them. -->
      <plugin>
        <artifactId>maven-resources-plugin</artifactId>
        <version>3.3.1</version>
        <executions>
          <execution><id>default-resources</id><phase>none</phase></execution>
          <execution><id>default-testResources</id><phase>none</phase></execution>
        </executions>
      </plugin>
      <plugin>
        <artifactId>maven-surefire-plugin</artifactId>
        <version>3.5.4</version>
        <executions>
          <execution><id>default-test</id><phase>none</phase></execution>
        </executions>
      </plugin>
    </plugins>
  </build>
</project>
"""
