package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containercloud/cc/words"
)

var containerRun = verb{
	noun: "container", name: "run", args: "FILE.json", short: "run the container that a brocker file describes",
	long: `
It prints the container's name and leaves it running. The file's fields:

  command       what to run: a string cut at blanks, or an array of words
  service-name  joins the VPC of this name, and becomes the label service
  bridge-ip     with it the VPC is made when it is not there: 10.0.1.1 is the gateway of 10.0.1.0/24
  name          name of the container (default: 8 hexadecimal digits)
  copy-file     true: copy file into /app of the container; or the path itself, or an array of paths
  file          a path on this host, or an array of paths

The command runs in the image host, this machine's own root file system under an overlay, as brocker ran it. Paths
in file and copy-file that are relative count from the directory of FILE.json. Other fields are refused.`,
	examples: []string{"cc container run app.json", "cc container list", "cc container stop 5ca4f2d1"},
	flags:    []flag{{long: "image", arg: "REF", doc: "run it in another image", from: "image"}},
	min:      1, max: 1, objects: "file",
	run: runBrocker,
}

// brockerFile is a container as brocker (github.com/bpowell/brocker) describes it. Keys are compared without
// regard to case, as brocker did.
type brockerFile struct {
	Service  string      `json:"service-name"`
	Command  stringList  `json:"command"`
	CopyFile copyFile    `json:"copy-file"`
	File     stringList  `json:"file"`
	BridgeIP *netip.Addr `json:"bridge-ip"`
	Name     string      `json:"name"`
}

// stringList is a string or an array of strings.
type stringList struct {
	list  []string
	array bool
}

func (s *stringList) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		s.array = true
		return json.Unmarshal(b, &s.list)
	}
	s.list = make([]string, 1)
	return json.Unmarshal(b, &s.list[0])
}

// copyFile is brocker's true or false, or what to copy.
type copyFile struct {
	on    bool
	paths stringList
}

func (f *copyFile) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &f.on) == nil {
		return nil
	}
	f.on = true
	return f.paths.UnmarshalJSON(b)
}

func readBrocker(name string) (*brockerFile, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, &failure{code: exitOf(errnoOf(err), ""), errno: errnoOf(err), text: "cannot read " + name + ": " + strerror(err, errnoOf(err))}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	b := new(brockerFile)
	if err := d.Decode(b); err != nil {
		f := failedf(exitFailed, "cannot run %s: %s", name, strings.TrimPrefix(err.Error(), "json: "))
		return nil, f.withHint("known fields: service-name command copy-file file bridge-ip name")
	}
	if d.More() {
		return nil, failedf(exitFailed, "cannot run %s: there is something behind the object", name)
	}
	if !b.Command.array && len(b.Command.list) == 1 {
		b.Command.list = strings.Fields(b.Command.list[0])
	}
	if len(b.Command.list) == 0 {
		return nil, failedf(exitFailed, "cannot run %s: it has no command", name)
	}
	if b.CopyFile.on && len(b.files()) == 0 {
		return nil, failedf(exitFailed, "cannot run %s: copy-file is true, and file names nothing", name)
	}
	return b, nil
}

// files are the paths to copy, none unless copy-file asks for it.
func (b *brockerFile) files() []string {
	if !b.CopyFile.on {
		return nil
	}
	return append(append([]string(nil), b.CopyFile.paths.list...), b.File.list...)
}

func runBrocker(c *call) error {
	b, err := readBrocker(c.args[0])
	if err != nil {
		return err
	}
	made, err := c.brockerNetwork(b)
	if err != nil {
		return err
	}
	name, id, err := c.brockerContainer(b)
	switch {
	case err != nil && made:
		return errors.Join(err, ignoreMissing(c.tree.fs.Remove("vpc/"+b.Service)))
	case err != nil:
		return err
	case c.tree.dry:
	case c.opt.on("json"):
		return writeJSON(c.out, map[string]any{"name": name, "id": id})
	default:
		c.say(name)
	}
	return nil
}

// brockerContainer makes and starts the container; one that cannot be made whole is not left behind.
func (c *call) brockerContainer(b *brockerFile) (name, id string, err error) {
	files := b.files()
	verb := "run"
	if len(files) > 0 {
		verb = "create" // the files are there before the program is
	}
	name, id, err = c.create(b.message(verb, c.opt.get("image", "host")), true)
	if err != nil || len(files) == 0 {
		return name, id, err
	}
	dir := "container/" + name
	err = c.brockerFiles(dir, files, filepath.Dir(c.args[0]))
	if err == nil {
		err = c.tree.say(dir+"/ctl", "start")
	}
	if err != nil {
		err = errors.Join(err, ignoreMissing(c.tree.fs.Remove(dir)))
	}
	return name, id, err
}

func ignoreMissing(err error) error {
	if is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

func (b *brockerFile) message(verb, image string) words.Message {
	m := words.Message{Verb: verb, Cmd: b.Command.list, HasCmd: true}
	put := func(key, value string) {
		if value != "" {
			m.Opts = append(m.Opts, words.Opt{Key: key, Value: value})
		}
	}
	put("name", b.Name)
	put("image", image)
	put("vpc", b.Service)
	if b.Service != "" {
		put("label", "service="+b.Service)
	}
	put("stdin", "off")
	return m
}

// brockerNetwork makes the VPC of a service when the file says which addresses it has and it is not there.
func (c *call) brockerNetwork(b *brockerFile) (made bool, err error) {
	if b.BridgeIP == nil || b.Service == "" || c.tree.has("vpc/"+b.Service) {
		return false, nil
	}
	prefix, err := b.BridgeIP.Prefix(24)
	if err != nil || !b.BridgeIP.Is4() {
		return false, failedf(exitFailed, "cannot use bridge-ip %s: it is no IPv4 address", b.BridgeIP)
	}
	err = c.makeVPC(b.Service, []words.Opt{{Key: "gateway", Value: b.BridgeIP.String()}, {Key: "cidr", Value: prefix.String()}}, nil)
	return err == nil, err
}

// brockerFiles copies files of this host into the container's /app.
func (c *call) brockerFiles(dir string, files []string, relative string) error {
	root, err := c.tree.fs.Root(dir + "/root")
	if err != nil && !c.tree.dry {
		return c.tree.explain(err, "open the files of "+dir)
	}
	if err == nil {
		defer root.Close()
	}
	for _, name := range files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(relative, name)
		}
		if !c.traceCopy(name, dir+"/root/app/") {
			continue
		}
		if err := copyToApp(root, name); err != nil {
			return err
		}
	}
	return nil
}

func copyToApp(root Root, name string) error {
	host, base, err := openHost(name)
	if err != nil {
		return err
	}
	defer host.Close()
	k := &copier{from: host, to: root, inContainer: true}
	if err := k.fail(k.copyTo(base, "/app", filepath.Base(name), true)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
