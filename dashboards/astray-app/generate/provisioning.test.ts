import { readdirSync, readFileSync } from 'fs';
import { join } from 'path';
import { files } from './files';

const root = join(__dirname, '../../provisioning');

describe('dashboards/provisioning', () => {
  it.each(Object.entries(files()))('%s is what the generator writes (npm run generate)', (name, content) => {
    expect(readFileSync(join(root, name), 'utf8')).toBe(content);
  });

  it('holds no file that the generator does not know', () => {
    const found = readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((f) => f.isFile())
      .map((f) => join(f.parentPath, f.name).slice(root.length + 1));
    expect(found.sort()).toEqual(Object.keys(files()).sort());
  });

  it('asks each panel of each dashboard something', () => {
    for (const [name, content] of Object.entries(files()).filter(([n]) => n.endsWith('.json'))) {
      const { title, panels } = JSON.parse(content);
      expect(`${name}: ${title}`).toContain('Astray / ');
      for (const panel of panels) {
        expect(panel.targets).toHaveLength(1);
        expect(panel.targets[0].queryType).toBeTruthy();
        expect(panel.datasource.uid).toBe('${datasource}');
      }
    }
  });
});
