<?xml version="1.0" encoding="UTF-8"?>
<!-- Aus einer Nachricht nach XBau 2.6 wird eine Bauakte 1.0.

     Mit den Dokumenten in base64, die im Antrag stehen, und den Verweisen auf seine Anlagen. Der Rest des Antrags bleibt in
     der Nachricht, die der Hub aufbewahrt; das Fachverfahren legt hiermit den Vorgang an.
     Der Zeitpunkt des Eingangs kommt vom Hub (received_at), nie von der Uhr: dieselbe Nachricht gibt dieselben Bytes. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:x="http://www.xleitstelle.de/xbau/2/6" xmlns="urn:xoev-hub:beispiel:bauakte_1.0"
                exclude-result-prefixes="x">

  <xsl:import href="lib/text.xsl"/>
  <xsl:output method="xml" encoding="UTF-8" indent="yes"/>
  <xsl:param name="received_at"/>

  <xsl:template match="/*">
    <xsl:variable name="kopf" select="nachrichtenkopf.g2g"/>
    <xsl:variable name="name" select="local-name()"/>
    <bauakte nachricht="{substring($name, string-length($name) - 3)}">
      <vorgang>
        <xsl:call-template name="klein">
          <xsl:with-param name="text" select="$kopf/identifikation.nachricht/nachrichtenUUID"/>
        </xsl:call-template>
      </vorgang>
      <art>
        <xsl:choose>
          <xsl:when test="starts-with($name, 'baugenehmigung.')">baugenehmigung</xsl:when>
          <xsl:when test="starts-with($name, 'vorbescheid.')">vorbescheid</xsl:when>
          <xsl:when test="starts-with($name, 'anzeige')">anzeige</xsl:when>
          <xsl:otherwise>sonstiges</xsl:otherwise>
        </xsl:choose>
      </art>
      <eingang><xsl:value-of select="$received_at"/></eingang>
      <behoerde>
        <kennung><xsl:value-of select="normalize-space($kopf/leser/kennung)"/></kennung>
        <name><xsl:value-of select="normalize-space($kopf/leser/name)"/></name>
      </behoerde>
      <antragsteller>
        <!-- Mehrere Antragsteller führt das Fachverfahren unter dem ersten. -->
        <xsl:apply-templates select="x:antragsteller[1]/*"/>
      </antragsteller>
      <vorhaben>
        <bezeichnung><xsl:value-of select="normalize-space(x:bauvorhaben/x:bezeichnungDesBauvorhabens)"/></bezeichnung>
        <xsl:variable name="flurstuecke"
                      select="x:bauvorhaben/x:verortung/x:baugrundstueck/x:grundstueck/x:flurstueck/kodierungFlurstueck"/>
        <xsl:call-template name="feld">
          <xsl:with-param name="name" select="'gemarkung'"/>
          <xsl:with-param name="text" select="($flurstuecke/gemarkung/bezeichnung | $flurstuecke/gemarkung/nummer)[1]"/>
        </xsl:call-template>
        <xsl:apply-templates select="$flurstuecke"/>
      </vorhaben>
      <!-- TextFormatiert steht an vielen Stellen des Standards, immer mit diesen Kindern. -->
      <xsl:variable name="unterlagen"
                    select=".//text[not(*)] | .//textOffice/textOfficeXML | x:anlagen/anlage"/>
      <xsl:if test="$unterlagen">
        <unterlagen>
          <xsl:apply-templates select="$unterlagen" mode="unterlage"/>
        </unterlagen>
      </xsl:if>
    </bauakte>
  </xsl:template>

  <xsl:template match="text" mode="unterlage">
    <unterlage bezeichnung="{local-name(..)}" format="text/html">
      <xsl:call-template name="inhalt"/>
    </unterlage>
  </xsl:template>

  <xsl:template match="textOfficeXML" mode="unterlage">
    <unterlage bezeichnung="{local-name(../..)}" format="{normalize-space(../textOfficeMimeType/code)}">
      <xsl:call-template name="inhalt"/>
    </unterlage>
  </xsl:template>

  <xsl:template match="anlage" mode="unterlage">
    <xsl:variable name="anhang" select="anhangOderVerlinkung/anhang"/>
    <unterlage bezeichnung="{normalize-space(bezeichnung)}" format="{normalize-space(mimeType/code)}">
      <xsl:if test="$anhang">
        <xsl:attribute name="datei"><xsl:value-of select="normalize-space($anhang/dateiname)"/></xsl:attribute>
      </xsl:if>
      <verweis>
        <xsl:value-of select="normalize-space($anhang/dokumentid | anhangOderVerlinkung/verlinkung/uriVerlinkung)"/>
      </verweis>
    </unterlage>
  </xsl:template>

  <xsl:template name="inhalt">
    <inhalt><xsl:value-of select="translate(., ' &#9;&#10;&#13;', '')"/></inhalt>
  </xsl:template>

  <xsl:template match="natuerlichePerson">
    <name><xsl:value-of select="normalize-space(concat(name/vorname/name, ' ', name/familienname/name))"/></name>
    <xsl:apply-templates select="anschrift"/>
  </xsl:template>

  <xsl:template match="organisation">
    <name><xsl:value-of select="normalize-space(name/name)"/></name>
    <xsl:apply-templates select="anschrift"/>
  </xsl:template>

  <xsl:template match="anschrift">
    <xsl:call-template name="feld">
      <xsl:with-param name="name" select="'strasse'"/>
      <xsl:with-param name="text" select="concat(strasse, ' ', hausnummer, strasseHausnummer)"/>
    </xsl:call-template>
    <xsl:call-template name="feld">
      <xsl:with-param name="name" select="'plz'"/>
      <xsl:with-param name="text" select="postleitzahl"/>
    </xsl:call-template>
    <xsl:call-template name="feld">
      <xsl:with-param name="name" select="'ort'"/>
      <xsl:with-param name="text" select="ort"/>
    </xsl:call-template>
  </xsl:template>

  <xsl:template match="kodierungFlurstueck">
    <flurstueck>
      <xsl:value-of select="normalize-space(zaehler)"/>
      <xsl:if test="normalize-space(nenner)">/<xsl:value-of select="normalize-space(nenner)"/></xsl:if>
    </flurstueck>
  </xsl:template>
</xsl:stylesheet>
