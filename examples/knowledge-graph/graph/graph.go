package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/causeway-mcp/causeway/object"
)

type Entity struct {
	Name         string   `json:"name" jsonschema:"The name of the entity"`
	EntityType   string   `json:"entityType" jsonschema:"The type of the entity"`
	Observations []string `json:"observations" jsonschema:"An array of observation contents associated with the entity"`
}

type Relation struct {
	From         string `json:"from" jsonschema:"The name of the entity where the relation starts"`
	To           string `json:"to" jsonschema:"The name of the entity where the relation ends"`
	RelationType string `json:"relationType" jsonschema:"The type of the relation"`
}

type Graph struct {
	Entities  []Entity   `json:"entities"`
	Relations []Relation `json:"relations"`
}

type Entities struct {
	Entities []Entity `json:"entities"`
}

func (e Entities) list() any { return e.Entities }

type Relations struct {
	Relations []Relation `json:"relations"`
}

func (r Relations) list() any { return r.Relations }

type NewObservations struct {
	Observations []struct {
		EntityName string   `json:"entityName" jsonschema:"The name of the entity to add the observations to"`
		Contents   []string `json:"contents" jsonschema:"An array of observation contents to add"`
	} `json:"observations"`
}

type AddedObservations struct {
	Results []Added `json:"results"`
}

func (a AddedObservations) list() any { return a.Results }

type Added struct {
	EntityName        string   `json:"entityName"`
	AddedObservations []string `json:"addedObservations"`
}

type EntityNames struct {
	EntityNames []string `json:"entityNames" jsonschema:"An array of entity names to delete"`
}

type Deletions struct {
	Deletions []struct {
		EntityName   string   `json:"entityName" jsonschema:"The name of the entity containing the observations"`
		Observations []string `json:"observations" jsonschema:"An array of observations to delete"`
	} `json:"deletions"`
}

type Query struct {
	Query string `json:"query" jsonschema:"The search query to match against entity names, types, and observation content"`
}

type Names struct {
	Names []string `json:"names" jsonschema:"An array of entity names to retrieve"`
}

// Done is the result of a deletion.
type Done struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

// schemas[i] makes the database of version i into that of i+1. Text to be searched
// is kept in lower case beside the original, since SQLite's lower() knows ASCII only.
var schemas = []string{`
	CREATE TABLE entity (
		id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL, searched TEXT NOT NULL);
	CREATE TABLE observation (
		id INTEGER PRIMARY KEY, entity INTEGER NOT NULL REFERENCES entity ON DELETE CASCADE,
		content TEXT NOT NULL, searched TEXT NOT NULL, UNIQUE (entity, content));
	CREATE TABLE relation (
		id INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES entity ON DELETE CASCADE,
		target INTEGER NOT NULL REFERENCES entity ON DELETE CASCADE, type TEXT NOT NULL,
		UNIQUE (source, target, type));
	CREATE INDEX relation_target ON relation (target);`,
}

func migrate(ctx context.Context, tx object.Tx, version *int) error {
	for ; *version < len(schemas); *version++ {
		if _, err := tx.ExecContext(ctx, schemas[*version]); err != nil {
			return fmt.Errorf("making schema %d: %w", *version+1, err)
		}
	}
	return nil
}

// change runs a statement and counts the rows it changed.
func change(ctx context.Context, tx object.Tx, statement string, args ...any) (int, error) {
	res, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func createEntities(ctx context.Context, tx object.Tx, in Entities) (Entities, error) {
	created := []Entity{}
	for _, e := range in.Entities {
		n, err := change(ctx, tx, `INSERT OR IGNORE INTO entity (name, type, searched) VALUES (?, ?, ?)`,
			e.Name, e.EntityType, strings.ToLower(e.Name+"\n"+e.EntityType))
		if err != nil {
			return Entities{}, err
		}
		if n == 0 {
			continue // there is one of that name
		}
		if e.Observations, err = observe(ctx, tx, e.Name, e.Observations); err != nil {
			return Entities{}, err
		}
		created = append(created, e)
	}
	return Entities{created}, nil
}

// observe returns what was not known.
func observe(ctx context.Context, tx object.Tx, entity string, contents []string) ([]string, error) {
	added := []string{}
	for _, c := range contents {
		n, err := change(ctx, tx, `INSERT OR IGNORE INTO observation (entity, content, searched) SELECT id, ?, ? FROM entity WHERE name = ?`,
			c, strings.ToLower(c), entity)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			added = append(added, c)
		}
	}
	return added, nil
}

func exists(ctx context.Context, tx object.Tx, entity string) (is bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM entity WHERE name = ?)`, entity).Scan(&is)
	return is, err
}

func mustExist(ctx context.Context, tx object.Tx, entity string) error {
	is, err := exists(ctx, tx, entity)
	if err == nil && !is {
		// In the words of the reference server.
		err = fmt.Errorf("Entity with name %s not found", entity)
	}
	return err
}

func createRelations(ctx context.Context, tx object.Tx, in Relations) (Relations, error) {
	created := []Relation{}
	for _, r := range in.Relations {
		for _, end := range []string{r.From, r.To} {
			if err := mustExist(ctx, tx, end); err != nil {
				return Relations{}, err
			}
		}
		n, err := change(ctx, tx, `INSERT OR IGNORE INTO relation (source, target, type)
			SELECT s.id, t.id, ? FROM entity s, entity t WHERE s.name = ? AND t.name = ?`, r.RelationType, r.From, r.To)
		if err != nil {
			return Relations{}, err
		}
		if n > 0 {
			created = append(created, r)
		}
	}
	return Relations{created}, nil
}

func addObservations(ctx context.Context, tx object.Tx, in NewObservations) (AddedObservations, error) {
	results := []Added{}
	for _, o := range in.Observations {
		if err := mustExist(ctx, tx, o.EntityName); err != nil {
			return AddedObservations{}, err
		}
		added, err := observe(ctx, tx, o.EntityName, o.Contents)
		if err != nil {
			return AddedObservations{}, err
		}
		results = append(results, Added{o.EntityName, added})
	}
	return AddedObservations{results}, nil
}

func deleteEntities(ctx context.Context, tx object.Tx, in EntityNames) (Done, error) {
	var missing []string
	for _, name := range in.EntityNames {
		n, err := change(ctx, tx, `DELETE FROM entity WHERE name = ?`, name)
		if err != nil {
			return Done{}, err
		}
		if n == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return Done{true, "Entities deleted successfully"}, nil
	}
	return Done{true, fmt.Sprintf("Deleted %d of %d entities. Not found: %s",
		len(in.EntityNames)-len(missing), len(in.EntityNames), strings.Join(missing, ", "))}, nil
}

func deleteObservations(ctx context.Context, tx object.Tx, in Deletions) (Done, error) {
	var asked, deleted int
	var missing []string
	for _, d := range in.Deletions {
		asked += len(d.Observations)
		is, err := exists(ctx, tx, d.EntityName)
		if err != nil {
			return Done{}, err
		}
		if !is {
			missing = append(missing, d.EntityName)
		}
		for _, o := range d.Observations {
			n, err := change(ctx, tx, `DELETE FROM observation WHERE content = ? AND entity = (SELECT id FROM entity WHERE name = ?)`, o, d.EntityName)
			if err != nil {
				return Done{}, err
			}
			deleted += n
		}
	}
	if deleted == asked {
		return Done{true, "Observations deleted successfully"}, nil
	}
	message := fmt.Sprintf("Deleted %d of %d observations.", deleted, asked)
	if len(missing) > 0 {
		message += " Entities not found: " + strings.Join(missing, ", ")
	}
	return Done{true, message}, nil
}

func deleteRelations(ctx context.Context, tx object.Tx, in Relations) (Done, error) {
	var deleted int
	for _, r := range in.Relations {
		n, err := change(ctx, tx, `DELETE FROM relation WHERE type = ?
			AND source = (SELECT id FROM entity WHERE name = ?) AND target = (SELECT id FROM entity WHERE name = ?)`,
			r.RelationType, r.From, r.To)
		if err != nil {
			return Done{}, err
		}
		deleted += n
	}
	if deleted == len(in.Relations) {
		return Done{true, "Relations deleted successfully"}, nil
	}
	return Done{true, fmt.Sprintf("Deleted %d of %d relations. The rest matched nothing.", deleted, len(in.Relations))}, nil
}

func wholeGraph(ctx context.Context, tx object.Tx, _ struct{}) (Graph, error) {
	return selectGraph(ctx, tx, `true`)
}

const maxQuery = 2048 // characters

func searchNodes(ctx context.Context, tx object.Tx, in Query) (Graph, error) {
	if n := utf8.RuneCountInString(in.Query); n > maxQuery {
		return Graph{}, fmt.Errorf("the query has %d characters; %d are allowed", n, maxQuery)
	}
	return selectGraph(ctx, tx, `instr(searched, ?1) OR id IN (SELECT entity FROM observation WHERE instr(searched, ?1))`,
		strings.ToLower(in.Query))
}

func openNodes(ctx context.Context, tx object.Tx, in Names) (Graph, error) {
	names, err := json.Marshal(in.Names)
	if err != nil {
		return Graph{}, err
	}
	return selectGraph(ctx, tx, `name IN (SELECT value FROM json_each(?))`, string(names))
}

// selectGraph is the entities for which the condition holds, and the relations that
// start or end at one of them.
func selectGraph(ctx context.Context, tx object.Tx, condition string, args ...any) (Graph, error) {
	g := Graph{Entities: []Entity{}, Relations: []Relation{}}
	rows, err := tx.QueryContext(ctx, `SELECT name, type,
		(SELECT json_group_array(content ORDER BY id) FROM observation WHERE entity = entity.id)
		FROM entity WHERE `+condition+` ORDER BY id`, args...)
	if err != nil {
		return Graph{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var e Entity
		var observations string
		if err := rows.Scan(&e.Name, &e.EntityType, &observations); err != nil {
			return Graph{}, err
		}
		if err := json.Unmarshal([]byte(observations), &e.Observations); err != nil {
			return Graph{}, err
		}
		g.Entities = append(g.Entities, e)
	}
	if err := rows.Err(); err != nil {
		return Graph{}, err
	}
	g.Relations, err = relationsOf(ctx, tx, condition, args...)
	return g, err
}

func relationsOf(ctx context.Context, tx object.Tx, condition string, args ...any) ([]Relation, error) {
	relations := []Relation{}
	rows, err := tx.QueryContext(ctx, `WITH selected AS (SELECT id FROM entity WHERE `+condition+`)
		SELECT s.name, t.name, r.type FROM relation r JOIN entity s ON s.id = r.source JOIN entity t ON t.id = r.target
		WHERE r.source IN selected OR r.target IN selected ORDER BY r.id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r Relation
		if err := rows.Scan(&r.From, &r.To, &r.RelationType); err != nil {
			return nil, err
		}
		relations = append(relations, r)
	}
	return relations, rows.Err()
}
